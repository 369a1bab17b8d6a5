//! The tables, whose file this is, and how an older file becomes a current one.
//!
//! The file carries `application_id` 0x57535401 (`WST`, 1). All of it is made in one transaction, so
//! a file is either empty or whole. `user_version` is left to the application: this crate keeps its
//! version in a table of its own, so that both can migrate the same file.
//!
//! `wst_meta`, one row:
//!
//! | column | holds |
//! |---|---|
//! | `only` | 1 |
//! | `schema_version` | the number of migrations that were run |
//!
//! `wst_slots`, one row per slot, never deleted:
//!
//! | column | holds |
//! |---|---|
//! | `workspace`, `name` | the slot; primary key |
//! | `revision` | raised by one with each write but those of `last_used_at` |
//! | `generation` | raised by one with each rotation and with each revocation |
//! | `token_id` | the public id of the token; of the last one, in a tombstone |
//! | `sealed` | the token at rest; NULL marks a tombstone |
//! | `key_id` | the key of the envelope in `sealed`; NULL if that is no envelope we know |
//! | `changed_at`, `last_used_at` | milliseconds since 1970; `last_used_at` is NULL until the first use |
//! | `change` | the number of the write that left the row as it is, over all slots: the change feed asks for those above the last it saw |
//!
//! `wst_history`, one row per event, never changed:
//!
//! | column | holds |
//! |---|---|
//! | `workspace`, `name` | the slot |
//! | `revision` | the one that the write of the event gave to the slot; with the slot, the primary key, and so the order |
//! | `kind` | `issued`, `revoked` or `rotated` |
//! | `generation`, `token_id`, `at` | of the event |
//! | `actor`, `reason` | in the application's own words; NULL if it said nothing |
//!
//! Times beyond the year 292 million are stored as that year.

use std::{thread, time::Duration};

use rusqlite::{Connection, ErrorCode, TransactionBehavior, config::DbConfig};

use crate::{
    connection::PATIENCE,
    error::{OpenError, OpenErrorKind, is_busy},
};

/// Makes the tables in an empty database, and brings those of an older version up to date.
///
/// # Errors
/// The database is not ours, newer, damaged, or can't be written; it is as it was.
pub(crate) fn prepare(connection: &mut Connection) -> Result<(), OpenError> {
    prepare_with(connection, &MIGRATIONS)
}

fn prepare_with(connection: &mut Connection, migrations: &[&str]) -> Result<(), OpenError> {
    // Closing the last connection moves the log into the file: not into one that we refuse.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let version = inspect(connection, migrations.len())?;
    if version > 0 {
        check(connection)?;
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;

    use_wal(connection)?;
    if version < migrations.len() {
        migrate(connection, migrations)?;
    }
    Ok(())
}

/// Returns the version of the schema; 0 if the database is empty.
fn inspect(connection: &mut Connection, newest: usize) -> Result<usize, OpenError> {
    // One view of all: another process may be making the tables.
    let view = connection.transaction()?;
    version(&view, newest)
}

fn version(connection: &Connection, newest: usize) -> Result<usize, OpenError> {
    let application: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match application {
        0 if tables == 0 => Ok(0),
        APPLICATION_ID => match our_version(connection)? {
            version if version > newest => Err(OpenError::new(OpenErrorKind::Newer)),
            version => Ok(version),
        },
        _ => Err(OpenError::new(OpenErrorKind::Foreign)),
    }
}

fn our_version(connection: &Connection) -> Result<usize, OpenError> {
    let read = connection.query_row("SELECT schema_version FROM wst_meta", [], |row| {
        row.get::<_, u32>(0)
    });
    read.map(|version| version as usize)
        .map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::SystemIoFailure) => error.into(),
            // The file says that it is ours, so the table has to be there.
            _ => OpenError::with_source(OpenErrorKind::Corrupt, error),
        })
}

/// Looks for damage in the slots: a read of a few milliseconds for ten thousand of them.
///
/// Only there, since the history, and the application's own tables, may be as large as they like.
fn check(connection: &Connection) -> Result<(), OpenError> {
    let finding: String =
        connection.query_row("PRAGMA quick_check('wst_slots')", [], |row| row.get(0))?;
    match finding.as_str() {
        "ok" => Ok(()),
        _ => Err(OpenError::with_source(OpenErrorKind::Corrupt, finding)),
    }
}

/// Sets the write-ahead log, which stays set in the file.
fn use_wal(connection: &Connection) -> Result<(), OpenError> {
    // Two that set it at once are told that the other is in the way, whatever the busy timeout: each
    // holds a lock that the other waits for.
    connection.busy_timeout(Duration::ZERO)?;
    let mut attempts = PATIENCE.as_millis() / PAUSE.as_millis();
    let mode = loop {
        match set_wal(connection) {
            Err(error) if is_busy(&error) && attempts > 0 => thread::sleep(PAUSE),
            result => break result?,
        }
        attempts -= 1;
    };
    connection.busy_timeout(PATIENCE)?;
    match mode.as_str() {
        "wal" => Ok(()),
        _ => Err(OpenError::with_source(
            OpenErrorKind::Unavailable,
            "the write-ahead log could not be set",
        )),
    }
}

/// Asks for the write-ahead log; returns the mode that the database is in.
fn set_wal(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
}

fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), OpenError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Asked again, now that nobody else can write: another process may have been faster.
    let version = version(&transaction, migrations.len())?;
    for migration in &migrations[version..] {
        transaction.execute_batch(migration)?;
    }
    transaction.execute(
        "UPDATE wst_meta SET schema_version = ?1",
        [migrations.len() as i64],
    )?;
    transaction.commit()?;
    Ok(())
}

/// Between two attempts to set the write-ahead log.
const PAUSE: Duration = Duration::from_millis(5);

const APPLICATION_ID: i32 = 0x5753_5401;

/// The steps from one version to the next; what was released is never edited.
const MIGRATIONS: [&str; 1] = [VERSION_1];

const VERSION_1: &str = "
PRAGMA application_id = 0x57535401;

CREATE TABLE wst_meta (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    schema_version INTEGER NOT NULL CHECK (schema_version > 0)
) STRICT;
INSERT INTO wst_meta VALUES (1, 1);

CREATE TABLE wst_slots (
    workspace TEXT NOT NULL CHECK (length(workspace) BETWEEN 1 AND 63 AND workspace NOT GLOB '*[^-a-z0-9]*'),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 63 AND name NOT GLOB '*[^-a-z0-9]*'),
    revision INTEGER NOT NULL CHECK (revision > 0),
    generation INTEGER NOT NULL CHECK (generation > 0),
    token_id TEXT NOT NULL CHECK (length(token_id) = 16),
    sealed BLOB,
    key_id TEXT CHECK (key_id IS NULL OR length(key_id) = 8 AND sealed IS NOT NULL),
    changed_at INTEGER NOT NULL CHECK (changed_at >= 0),
    last_used_at INTEGER CHECK (last_used_at >= 0),
    change INTEGER NOT NULL UNIQUE CHECK (change > 0),
    PRIMARY KEY (workspace, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE wst_history (
    workspace TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (revision > 0),
    kind TEXT NOT NULL CHECK (kind IN ('issued', 'revoked', 'rotated')),
    generation INTEGER NOT NULL CHECK (generation > 0),
    token_id TEXT NOT NULL CHECK (length(token_id) = 16),
    at INTEGER NOT NULL CHECK (at >= 0),
    actor TEXT,
    reason TEXT,
    PRIMARY KEY (workspace, name, revision),
    FOREIGN KEY (workspace, name) REFERENCES wst_slots (workspace, name)
) STRICT, WITHOUT ROWID;
";

#[cfg(test)]
mod tests {
    use super::*;

    /// A database in memory: what `prepare` does but for the log, which needs a file.
    fn migrated(migrations: &[&str]) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, migrations).unwrap();
        connection
    }

    #[test]
    fn an_older_schema_is_brought_forward_and_keeps_its_rows() {
        let version_2 = "ALTER TABLE wst_slots ADD COLUMN note TEXT";
        let mut connection = migrated(&MIGRATIONS);
        connection.execute_batch(ONE_SLOT).unwrap();
        let migrations = [MIGRATIONS.as_slice(), &[version_2]].concat();
        for _ in 0..2 {
            migrate(&mut connection, &migrations).unwrap();
            assert_eq!(version(&connection, 2).unwrap(), 2);
        }
        let rows: i64 = connection
            .query_row(
                "SELECT count(*) FROM wst_slots WHERE note IS NULL",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(rows, 1);
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let mut connection = migrated(&MIGRATIONS);
        let version_2 = "CREATE TABLE wst_new (a) STRICT; this is no SQL";
        let migrations = [MIGRATIONS.as_slice(), &[version_2]].concat();
        migrate(&mut connection, &migrations).unwrap_err();
        assert_eq!(version(&connection, 2).unwrap(), 1);
    }

    #[test]
    fn an_older_program_refuses_a_newer_schema() {
        let mut connection = migrated(&[VERSION_1, "CREATE TABLE wst_new (a INTEGER) STRICT"]);
        let error = prepare(&mut connection).unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::Newer);
    }

    #[test]
    fn the_tables_refuse_rows_that_make_no_sense() {
        let connection = migrated(&MIGRATIONS);
        connection.execute_batch(ONE_SLOT).unwrap();
        let cases = [
            ("capital letters", "workspace = 'ACME'"),
            ("no name", "name = ''"),
            ("a long name", "name = replace(hex(zeroblob(32)), '0', 'z')"),
            ("revision 0", "revision = 0"),
            ("generation 0", "generation = 0"),
            ("text for a number", "generation = 'one'"),
            ("a short token id", "token_id = 'short'"),
            ("text for a token", "sealed = 'sealed'"),
            (
                "a key without a token",
                "sealed = NULL, key_id = 'mzxw6ytb'",
            ),
            ("a time before 1970", "changed_at = -1"),
            ("no change number", "change = NULL"),
        ];
        for (name, change) in cases {
            let update = format!("UPDATE wst_slots SET {change}");
            assert!(connection.execute_batch(&update).is_err(), "{name}");
        }
    }

    const ONE_SLOT: &str = "
        INSERT INTO wst_slots VALUES
            ('acme', 'primary', 1, 1, 'mzxw6ytbmzxw6ytb', x'00', NULL, 1, NULL, 1)";
}
