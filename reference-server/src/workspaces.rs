//! The table of workspaces.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tower_workspace_token::id::WorkspaceId;

use crate::{db::DatabaseError, tasks::WorkspaceInfo};

const COLUMNS: &str = "id, name, description, archived_at IS NOT NULL";

pub(crate) fn find(
    connection: &Connection,
    id: &WorkspaceId,
) -> Result<Option<WorkspaceInfo>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM workspaces WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    Ok(statement.query_row([id.as_str()], from_row).optional()?)
}

/// Returns the workspaces called `name`, archived ones included.
pub(crate) fn find_by_name(
    connection: &Connection,
    name: &str,
) -> Result<Vec<WorkspaceInfo>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM workspaces WHERE name = ?1 ORDER BY created_at, id");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([name], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns all workspaces, oldest first.
pub(crate) fn list(connection: &Connection) -> Result<Vec<WorkspaceInfo>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM workspaces ORDER BY created_at, id");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns whether there is any workspace.
pub(crate) fn any(connection: &Connection) -> Result<bool, DatabaseError> {
    let mut statement = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM workspaces)")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

pub(crate) fn insert(
    connection: &Connection,
    id: &WorkspaceId,
    name: &str,
    now: i64,
) -> Result<(), DatabaseError> {
    connection.execute(
        "INSERT INTO workspaces (id, name, created_at) VALUES (?1, ?2, ?3)",
        params![id.as_str(), name, now],
    )?;
    Ok(())
}

/// Takes back an [`insert`] whose token could not be issued.
pub(crate) fn delete(connection: &Connection, id: &WorkspaceId) -> Result<(), DatabaseError> {
    connection.execute("DELETE FROM workspaces WHERE id = ?1", [id.as_str()])?;
    Ok(())
}

pub(crate) fn archive(
    connection: &Connection,
    id: &WorkspaceId,
    now: i64,
) -> Result<(), DatabaseError> {
    connection.execute(
        "UPDATE workspaces SET archived_at = ?2 WHERE id = ?1 AND archived_at IS NULL",
        params![id.as_str(), now],
    )?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<WorkspaceInfo> {
    let id: String = row.get(0)?;
    let id = id.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok(WorkspaceInfo {
        id,
        name: row.get(1)?,
        description: row.get(2)?,
        archived: row.get(3)?,
    })
}
