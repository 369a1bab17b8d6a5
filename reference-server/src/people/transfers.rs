//! The table of workspaces that are to change hands: one offer per workspace, which holds a week.

use rusqlite::{Connection, OptionalExtension as _, params};
use tower_workspace_token::id::WorkspaceId;

use super::UserId;
use crate::db::DatabaseError;

/// An offer that nobody has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) by: UserId,
    pub(crate) by_name: String,
    pub(crate) to: UserId,
    pub(crate) to_name: String,
    /// Milliseconds since 1970.
    pub(crate) at: i64,
}

/// Returns the offer, unless it is too old.
pub(crate) fn find(
    connection: &Connection,
    workspace: &WorkspaceId,
    now: i64,
) -> Result<Option<Transfer>, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT offered_by, giver.name, offered_to, taker.name, offered_at FROM transfers
         JOIN users AS giver ON giver.id = offered_by JOIN users AS taker ON taker.id = offered_to
         WHERE workspace = ?1 AND accepted_at IS NULL AND offered_at > ?2",
    )?;
    let found = statement.query_row(params![workspace.as_str(), now - LIFETIME], |row| {
        Ok(Transfer {
            by: UserId::new(row.get::<_, String>(0)?),
            by_name: row.get(1)?,
            to: UserId::new(row.get::<_, String>(2)?),
            to_name: row.get(3)?,
            at: row.get(4)?,
        })
    });
    Ok(found.optional()?)
}

/// Returns the workspaces that are offered to a person, each with who offers it.
pub(crate) fn offered_to(
    connection: &Connection,
    user: &UserId,
    now: i64,
) -> Result<Vec<(String, String)>, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT workspace, giver.name FROM transfers JOIN users AS giver ON giver.id = offered_by
         WHERE offered_to = ?1 AND accepted_at IS NULL AND offered_at > ?2",
    )?;
    let rows = statement.query_map(params![user.as_str(), now - LIFETIME], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Offers a workspace, in place of any offer before; returns whether it could be: not while it changes hands.
pub(crate) fn offer(
    connection: &Connection,
    workspace: &WorkspaceId,
    by: &UserId,
    to: &UserId,
    now: i64,
) -> Result<bool, DatabaseError> {
    let offered = connection.execute(
        "INSERT INTO transfers (workspace, offered_by, offered_to, offered_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (workspace) DO UPDATE SET offered_by = ?2, offered_to = ?3, offered_at = ?4
         WHERE accepted_at IS NULL",
        params![workspace.as_str(), by.as_str(), to.as_str(), now],
    )?;
    Ok(offered > 0)
}

/// Marks the offer as accepted: its tokens are to be regenerated.
pub(crate) fn accept(
    connection: &Connection,
    workspace: &WorkspaceId,
    now: i64,
) -> Result<(), DatabaseError> {
    connection.execute(
        "UPDATE transfers SET accepted_at = ?2 WHERE workspace = ?1",
        params![workspace.as_str(), now],
    )?;
    Ok(())
}

/// Forgets the offer: it was taken back, or all is done.
pub(crate) fn remove(
    connection: &Connection,
    workspace: &WorkspaceId,
) -> Result<(), DatabaseError> {
    connection.execute(
        "DELETE FROM transfers WHERE workspace = ?1",
        [workspace.as_str()],
    )?;
    Ok(())
}

/// Forgets an offer to somebody, or by them: they are no member any longer.
pub(crate) fn forget(
    connection: &Connection,
    workspace: &WorkspaceId,
    user: &UserId,
) -> Result<(), DatabaseError> {
    connection.execute(
        "DELETE FROM transfers
         WHERE workspace = ?1 AND ?2 IN (offered_by, offered_to) AND accepted_at IS NULL",
        params![workspace.as_str(), user.as_str()],
    )?;
    Ok(())
}

/// Returns the workspaces that have changed hands without all of their tokens being regenerated.
pub(crate) fn unfinished(connection: &Connection) -> Result<Vec<WorkspaceId>, DatabaseError> {
    let mut statement = connection
        .prepare_cached("SELECT workspace FROM transfers WHERE accepted_at IS NOT NULL")?;
    let ids = statement.query_map([], |row| row.get::<_, String>(0))?;
    let ids: Vec<String> = ids.collect::<Result<_, _>>()?;
    // They refer to the table of workspaces, where ids are ids.
    Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
}

const LIFETIME: i64 = 7 * 24 * 60 * 60 * 1000;
