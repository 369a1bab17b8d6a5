//! The server's tables, made and brought up to date: forward only.
//!
//! Both databases have the same versions, with a step each that leads to it. On SQLite all that is missing is
//! done in one transaction, and so it is on PostgreSQL, where of several servers that start at once one does it.

use anyhow::{Context as _, bail};
use rusqlite::{Connection, TransactionBehavior};

use super::{DatabaseError, Transaction, meta, postgres::Connections};

/// What leads to each version from the one before. A released step is never changed again.
const STEPS: &[&str] = &[
    include_str!("schema/sqlite/1.sql"),
    include_str!("schema/sqlite/2.sql"),
    include_str!("schema/sqlite/3.sql"),
    include_str!("schema/sqlite/4.sql"),
    include_str!("schema/sqlite/5.sql"),
    include_str!("schema/sqlite/6.sql"),
    include_str!("schema/sqlite/7.sql"),
    include_str!("schema/sqlite/8.sql"),
    include_str!("schema/sqlite/9.sql"),
];

/// The same for PostgreSQL, which began at version 7.
const POSTGRES_STEPS: &[&str] = &[
    "",
    "",
    "",
    "",
    "",
    "",
    include_str!("schema/postgres/7.sql"),
    include_str!("schema/postgres/8.sql"),
    include_str!("schema/postgres/9.sql"),
];

/// Brings the tables of an SQLite file up to date.
pub(super) fn run(connection: &mut Connection) -> anyhow::Result<()> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(DatabaseError::from)?;
    bring_up_to_date::<anyhow::Error>(&Transaction::of(&transaction), STEPS, check_integrity)?;
    transaction.commit().map_err(DatabaseError::from)?;
    Ok(())
}

/// Brings the tables in the schema of `connections` up to date.
pub(super) async fn run_postgres(connections: &Connections) -> anyhow::Result<()> {
    let work = |transaction: &Transaction<'_>| {
        bring_up_to_date(transaction, POSTGRES_STEPS, |_, _| Ok(()))
    };
    let outcome: Result<(), MigrationError> = connections.write_unhurried(work).await;
    outcome
        .map_err(|MigrationError(error)| error)
        .context("cannot use the PostgreSQL database")
}

fn bring_up_to_date<E: From<anyhow::Error>>(
    transaction: &Transaction<'_>,
    steps: &[&str],
    check: impl FnOnce(&Transaction<'_>, usize) -> anyhow::Result<()>,
) -> Result<(), E> {
    let work = || {
        let version = version(transaction)?;
        if version > steps.len() {
            bail!(
                "the tables have version {version}, and this program knows them up to version {}: run the newer `wst` that made them; nothing was changed",
                steps.len()
            );
        }
        if version > 0 {
            check(transaction, version)?;
        }
        for (index, step) in steps.iter().enumerate().skip(version) {
            let version = index + 1;
            transaction
                .execute_batch(step)
                .with_context(|| format!("cannot bring the tables to version {version}"))?;
            meta::set(transaction, meta::SCHEMA_VERSION, &version.to_string())?;
        }
        Ok(())
    };
    Ok(work()?)
}

/// Carries the sentence of a failure through a transaction.
struct MigrationError(anyhow::Error);

impl From<anyhow::Error> for MigrationError {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

impl From<DatabaseError> for MigrationError {
    fn from(error: DatabaseError) -> Self {
        Self(error.into())
    }
}

/// Returns whether the tables were made by a newer version of this program.
pub(crate) fn is_newer(transaction: &Transaction<'_>) -> bool {
    let version = meta::get(transaction, meta::SCHEMA_VERSION).ok().flatten();
    let version = version.and_then(|version| version.parse::<usize>().ok());
    version.is_some_and(|version| version > STEPS.len())
}

/// Stops at damage before anything is written.
///
/// Only the small tables: the store has looked at its own, and tasks may be as many as they like.
fn check_integrity(transaction: &Transaction<'_>, version: usize) -> anyhow::Result<()> {
    let since = [
        (1, "workspaces"),
        (1, "required_keys"),
        (2, "users"),
        (2, "members"),
    ];
    let tables = since.into_iter().filter(|(since, _)| *since <= version);
    for (_, table) in tables {
        let sql = format!("PRAGMA quick_check('{table}')");
        let verdict: String = transaction.query_row(&sql, [], |row| row.get(0))?;
        if verdict != "ok" {
            bail!("the database is damaged: restore it from a backup; nothing was changed");
        }
    }
    Ok(())
}

fn version(transaction: &Transaction<'_>) -> anyhow::Result<usize> {
    transaction.execute_batch(match transaction.engine() {
        super::Engine::Postgres(_) => META_POSTGRES,
        super::Engine::Sqlite(_) => META,
    })?;
    let version = meta::get(transaction, meta::SCHEMA_VERSION)?;
    let version = version.as_deref().unwrap_or("0");
    version
        .parse()
        .context("the version of the tables is no number")
}

const META: &str = "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID";
const META_POSTGRES: &str =
    "CREATE TABLE IF NOT EXISTS meta (key TEXT COLLATE \"C\" PRIMARY KEY, value TEXT NOT NULL)";

#[cfg(test)]
mod tests {
    use super::*;

    fn version_of(connection: &Connection) -> Option<String> {
        meta::get(&Transaction::of(connection), meta::SCHEMA_VERSION).unwrap()
    }

    #[test]
    fn runs_twice_without_a_change() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection).unwrap();
        run(&mut connection).unwrap();
        assert_eq!(version_of(&connection), Some(STEPS.len().to_string()));
    }

    #[test]
    fn refuses_tables_of_a_newer_version() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection).unwrap();
        meta::set(&Transaction::of(&connection), meta::SCHEMA_VERSION, "99").unwrap();
        let error = run(&mut connection).unwrap_err().to_string();
        assert!(error.contains("newer"), "{error}");
    }

    #[test]
    fn both_databases_have_the_same_versions() {
        assert_eq!(STEPS.len(), POSTGRES_STEPS.len());
    }
}
