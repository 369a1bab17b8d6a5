//! Facts about the database itself: a small table of words.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::DatabaseError;

/// The version of the server's tables.
pub(crate) const SCHEMA_VERSION: &str = "schema_version";
/// The public URL that the last server ran with.
pub(crate) const PUBLIC_URL: &str = "public_url";
/// The MCP domain that the last server was told to show, if any.
pub(crate) const MCP_DOMAIN: &str = "mcp_domain";

pub(crate) fn get(connection: &Connection, key: &str) -> Result<Option<String>, DatabaseError> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0)).optional()?)
}

pub(crate) fn set(connection: &Connection, key: &str, value: &str) -> Result<(), DatabaseError> {
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
        params![key, value],
    )?;
    Ok(())
}
