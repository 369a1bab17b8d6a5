//! Facts about the database itself: a small table of words.

use super::{DatabaseError, Engine, OptionalExtension as _, Transaction, params};

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

/// What the numbers of forms are sealed with, in base64: see `once`.
pub(crate) const FORM_KEY: &str = "form_key";

/// When the backup was made that this is: in backups alone.
pub(crate) const BACKUP_MADE_AT: &str = "backup_made_at";
/// When the last backup was made of this database, and where it was written.
pub(crate) const LAST_BACKUP_AT: &str = "last_backup_at";
pub(crate) const LAST_BACKUP_FILE: &str = "last_backup_file";

/// The name of an SQLite database that was moved, or is about to be: any word that no other one has.
pub(crate) const SOURCE_ID: &str = "source_id";
/// From which SQLite database a PostgreSQL database was filled, and since when all is there: before, it is only
/// being filled.
pub(crate) const MOVED_FROM: &str = "moved_from";
pub(crate) const MOVED_AT: &str = "moved_at";

pub(crate) fn get(
    connection: &Transaction<'_>,
    key: &str,
) -> Result<Option<String>, DatabaseError> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    statement.query_row([key], |row| row.get(0)).optional()
}

pub(crate) fn set(
    connection: &Transaction<'_>,
    key: &str,
    value: &str,
) -> Result<(), DatabaseError> {
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
        params![key, value],
    )?;
    Ok(())
}

/// Keeps `value` unless there is one already, which of several servers that start at once one does; returns
/// what is kept.
pub(crate) fn get_or_set(
    connection: &Transaction<'_>,
    key: &str,
    value: &str,
) -> Result<String, DatabaseError> {
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING",
        params![key, value],
    )?;
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    statement.query_row([key], |row| row.get(0))
}

pub(crate) fn remove(connection: &Transaction<'_>, key: &str) -> Result<(), DatabaseError> {
    connection.execute("DELETE FROM meta WHERE key = ?1", [key])?;
    Ok(())
}

/// Returns the size of the database in bytes, without what is still in its log.
pub(crate) fn size(connection: &Transaction<'_>) -> Result<i64, DatabaseError> {
    let sql = match connection.engine() {
        Engine::Postgres(_) => {
            "SELECT CAST(sum(pg_total_relation_size(oid)) AS BIGINT) FROM pg_class
             WHERE relkind = 'r' AND relnamespace = CAST(current_schema() AS regnamespace)"
        }
        Engine::Sqlite(_) => {
            "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        }
    };
    connection.query_row(sql, (), |row| row.get(0))
}
