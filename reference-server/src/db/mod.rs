//! The server's own tables in the workspace database: one connection that writes, one that reads.
//!
//! Each connection lives on a thread of its own, so that SQLite's blocking calls never stop the
//! runtime. The token store has its own connections to the same file; it is asked for a slot's
//! generation inside the server's transactions, in `lease`.

mod error;
pub(crate) mod ids;
pub(crate) mod lease;
pub(crate) mod meta;
mod migrations;
mod worker;

use anyhow::Context as _;
use rusqlite::{Connection, Transaction, TransactionBehavior, config::DbConfig};
use tower_workspace_token_sqlite::SqliteStore;

pub use error::DatabaseError;
pub(crate) use migrations::is_newer;
use worker::Worker;

/// The server's connections. Cheap to clone; clones share the threads.
#[derive(Clone, Debug)]
pub struct Database {
    writer: Worker,
    reader: Worker,
}

impl Database {
    /// Opens connections to the database of `store`, and brings the server's tables up to date.
    ///
    /// # Errors
    /// The tables are damaged, were made by a newer version, or cannot be written.
    pub fn open(store: &SqliteStore) -> anyhow::Result<Self> {
        let connect = || {
            let connection = store.connection()?;
            // Else a statement from the cache is planned anew with each use where its table has partial
            // indices, since a value might fit one of them, and that takes longer than the statement.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
            Ok::<_, anyhow::Error>(connection)
        };
        let connect = || connect().context("cannot open the database");
        let mut connection = connect()?;
        migrations::run(&mut connection)
            .with_context(|| format!("cannot use the database {}", store.path().display()))?;
        let reader = connect()?;
        reader.pragma_update(None, "query_only", true)?;
        Ok(Self {
            writer: Worker::start("wst-db-write", connection)?,
            reader: Worker::start("wst-db-read", reader)?,
        })
    }

    /// Runs `work` in a transaction that is committed if it returns `Ok`.
    ///
    /// Durable on `Ok`. Keep it short: all writes of the process wait for it.
    pub(crate) async fn write<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.write_then(work, |_| ()).await
    }

    /// The same, and runs `then` after the commit, on the writer's thread: also if nobody waits for the
    /// outcome any longer. It must not block.
    pub(crate) async fn write_then<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let job = move |connection: &mut Connection| {
            // Immediate, so that two writers wait for each other instead of failing half-way.
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(DatabaseError::from)?;
            let outcome = work(&transaction)?;
            transaction.commit().map_err(DatabaseError::from)?;
            then(&outcome);
            Ok(outcome)
        };
        self.writer.run(job).await.map_err(E::from)?
    }

    /// Runs `work` on the reading connection, in one snapshot.
    pub(crate) async fn read<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let job = move |connection: &mut Connection| {
            let snapshot = connection.transaction().map_err(DatabaseError::from)?;
            work(&snapshot)
        };
        self.reader.run(job).await.map_err(E::from)?
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[tokio::test]
    async fn a_statement_is_planned_once_whatever_its_parameters_are() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("test.db")).unwrap();
        let database = Database::open(&store).unwrap();
        let planned_again = |connection: &Connection| {
            let mut planned_again = 0;
            for workspace in ["acme", "other", "acme"] {
                // The table has partial indices, which a value may or may not make usable.
                let sql = "SELECT status, count(*) FROM tasks WHERE workspace = ?1 GROUP BY status";
                let mut statement = connection.prepare_cached(sql)?;
                assert!(!statement.exists([workspace])?);
                planned_again += statement.get_status(StatementStatus::RePrepare);
            }
            Ok::<_, DatabaseError>(planned_again)
        };
        let by_reader = database.read(move |snapshot| planned_again(snapshot));
        assert_eq!(by_reader.await.unwrap(), 0);
        let by_writer = database.write(move |transaction| planned_again(transaction));
        assert_eq!(by_writer.await.unwrap(), 0);
    }
}
