//! Which token is to replace which: until the old one is revoked, the page says how far it is.

use tower_workspace_token::id::WorkspaceId;

use crate::db::{DatabaseError, Transaction, params};

/// A token that is being replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replacement {
    pub(crate) old: String,
    pub(crate) new: String,
}

pub(crate) fn begin(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    old: &str,
    new: &str,
    now: i64,
) -> Result<(), DatabaseError> {
    connection.execute(
        "INSERT INTO replacements (workspace, old, new, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (workspace, old) DO UPDATE SET new = ?3, at = ?4",
        params![workspace.as_str(), old, new, now],
    )?;
    Ok(())
}

/// Forgets replacements of a token that is revoked, or by one that is.
pub(crate) fn end(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    token: &str,
) -> Result<(), DatabaseError> {
    connection.execute(
        "DELETE FROM replacements WHERE workspace = ?1 AND ?2 IN (old, new)",
        params![workspace.as_str(), token],
    )?;
    Ok(())
}

pub(crate) fn list(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
) -> Result<Vec<Replacement>, DatabaseError> {
    let mut statement = connection
        .prepare_cached("SELECT old, new FROM replacements WHERE workspace = ?1 ORDER BY at")?;
    let rows = statement.query_map([workspace.as_str()], |row| {
        Ok(Replacement {
            old: row.get(0)?,
            new: row.get(1)?,
        })
    })?;
    rows.collect::<Result<_, _>>()
}
