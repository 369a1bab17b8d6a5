//! Facts about the database itself: a small table of words.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::DatabaseError;

/// The version of the server's tables.
pub(crate) const SCHEMA_VERSION: &str = "schema_version";
/// The public URL that the last server ran with.
pub(crate) const PUBLIC_URL: &str = "public_url";
/// The MCP domain that the last server was told to show, if any.
pub(crate) const MCP_DOMAIN: &str = "mcp_domain";

/// What of a token is sealed, if that was ever chosen.
pub(crate) const SEAL: &str = "seal";

/// Where the rollback journal is that the database was last used with, and its id.
pub(crate) const ROLLBACK_JOURNAL: &str = "rollback_journal";
pub(crate) const ROLLBACK_JOURNAL_ID: &str = "rollback_journal_id";

/// That the database is a demo's: which workspace is, once it is filled.
pub(crate) const DEMO: &str = "demo";

/// When the backup was made that this is: in backups alone.
pub(crate) const BACKUP_MADE_AT: &str = "backup_made_at";
/// When the last backup was made of this database, and where it was written.
pub(crate) const LAST_BACKUP_AT: &str = "last_backup_at";
pub(crate) const LAST_BACKUP_FILE: &str = "last_backup_file";

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

pub(crate) fn remove(connection: &Connection, key: &str) -> Result<(), DatabaseError> {
    connection.execute("DELETE FROM meta WHERE key = ?1", [key])?;
    Ok(())
}

/// Returns the size of the database in bytes, without what is still in its log.
pub(crate) fn size(connection: &Connection) -> Result<i64, DatabaseError> {
    let sql = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
    Ok(connection.query_row(sql, (), |row| row.get(0))?)
}
