//! Connections: every one is opened here, with the same settings.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

/// How long a connection with a thread of its own waits for a lock of another process.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Opens a connection to the database file that is at `path`.
///
/// It never makes a file, and it does not look what is in it.
pub(crate) fn open(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    // Without SQLite's own mutex: a `Connection` is never used by two threads at once.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy_timeout)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.execute_batch(SETTINGS)?;
    Ok(connection)
}

/// Opens a connection that can't write.
pub(crate) fn open_for_reading(
    path: &Path,
    busy_timeout: Duration,
) -> rusqlite::Result<Connection> {
    let connection = open(path, busy_timeout)?;
    // Not opened read-only, which a WAL database needs luck for: the -shm has to be there already.
    connection.execute_batch("PRAGMA query_only = ON")?;
    Ok(connection)
}

/// - `secure_delete`: a row that was rewritten, because its key is to go or a digest is to take the token's place,
///   leaves nothing of what it held.
/// - `synchronous`: FULL, since a rotation that was acknowledged must outlive a power failure; NORMAL
///   would keep the file sound but lose the last commits.
/// - `fullfsync`: on macOS, `fsync` alone does not reach the disk; elsewhere without effect.
/// - `trusted_schema`, `cell_size_check`: a file that somebody else prepared runs no functions, and a
///   damaged page is noticed when it is read.
const SETTINGS: &str = "
    PRAGMA cell_size_check = ON;
    PRAGMA foreign_keys = ON;
    PRAGMA fullfsync = ON;
    PRAGMA secure_delete = ON;
    PRAGMA synchronous = FULL;
    PRAGMA trusted_schema = OFF;
";
