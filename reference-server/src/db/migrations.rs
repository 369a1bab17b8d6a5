//! The server's tables, made and brought up to date: forward only, one transaction per step.

use anyhow::{Context as _, bail};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{DatabaseError, meta};

/// What leads from each version to the next one. A released step is never changed again.
const STEPS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
];

pub(super) fn run(connection: &mut Connection) -> anyhow::Result<()> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(DatabaseError::from)?;
    let version = version(&transaction)?;
    if version > STEPS.len() {
        bail!(
            "the tables have version {version}, and this program knows them up to version {}: run the newer `wst` that made them; nothing was changed",
            STEPS.len()
        );
    }
    if version > 0 {
        check_integrity(&transaction, version)?;
    }
    for (index, step) in STEPS.iter().enumerate().skip(version) {
        let version = index + 1;
        transaction
            .execute_batch(step)
            .map_err(DatabaseError::from)
            .with_context(|| format!("cannot bring the tables to version {version}"))?;
        meta::set(&transaction, meta::SCHEMA_VERSION, &version.to_string())?;
    }
    transaction.commit().map_err(DatabaseError::from)?;
    Ok(())
}

/// Returns whether the tables were made by a newer version of this program.
pub(crate) fn is_newer(connection: &Connection) -> bool {
    let version = meta::get(connection, meta::SCHEMA_VERSION).ok().flatten();
    let version = version.and_then(|version| version.parse::<usize>().ok());
    version.is_some_and(|version| version > STEPS.len())
}

/// Stops at damage before anything is written.
///
/// Only the small tables: the store has looked at its own, and tasks may be as many as they like.
fn check_integrity(connection: &Connection, version: usize) -> anyhow::Result<()> {
    let since = [
        (1, "workspaces"),
        (1, "required_keys"),
        (2, "users"),
        (2, "members"),
    ];
    let tables = since.into_iter().filter(|(since, _)| *since <= version);
    for (_, table) in tables {
        let verdict: String = connection
            .query_row(&format!("PRAGMA quick_check('{table}')"), [], |row| {
                row.get(0)
            })
            .map_err(DatabaseError::from)?;
        if verdict != "ok" {
            bail!("the database is damaged: restore it from a backup; nothing was changed");
        }
    }
    Ok(())
}

fn version(transaction: &Transaction<'_>) -> anyhow::Result<usize> {
    transaction
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
        )
        .map_err(DatabaseError::from)?;
    let version = meta::get(transaction, meta::SCHEMA_VERSION)?;
    let version = version.as_deref().unwrap_or("0");
    version
        .parse()
        .context("the version of the tables is no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_twice_without_a_change() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection).unwrap();
        run(&mut connection).unwrap();
        let version = meta::get(&connection, meta::SCHEMA_VERSION).unwrap();
        assert_eq!(version, Some(STEPS.len().to_string()));
    }

    #[test]
    fn refuses_tables_of_a_newer_version() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection).unwrap();
        meta::set(&connection, meta::SCHEMA_VERSION, "99").unwrap();
        let error = run(&mut connection).unwrap_err().to_string();
        assert!(error.contains("newer"), "{error}");
    }
}
