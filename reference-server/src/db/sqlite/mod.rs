//! The server's transactions on SQLite: one connection that writes, one that reads, each on a thread of its own.

mod worker;

use anyhow::Context as _;
use rusqlite::{Connection, TransactionBehavior, config::DbConfig};
use tower_workspace_token_sqlite::SqliteStore;

use super::{DatabaseError, Transaction, migrations};
use worker::Worker;

/// The two threads. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Threads {
    writer: Worker,
    reader: Worker,
}

impl Threads {
    /// Opens connections to the file of `store`, and brings the server's tables up to date.
    pub(super) fn start(store: &SqliteStore) -> anyhow::Result<Self> {
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

    /// Runs `work` in a transaction that is committed if it returns `Ok`, and then `then`.
    pub(super) async fn write<T, E>(
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
            let outcome = work(&Transaction::of(&transaction))?;
            transaction.commit().map_err(DatabaseError::from)?;
            then(&outcome);
            Ok(outcome)
        };
        self.writer.run(job).await.map_err(E::from)?
    }

    /// Runs `work` on the reading connection, in one snapshot.
    pub(super) async fn read<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let job = move |connection: &mut Connection| {
            let snapshot = connection.transaction().map_err(DatabaseError::from)?;
            work(&Transaction::of(&snapshot))
        };
        self.reader.run(job).await.map_err(E::from)?
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::db::Engine;

    #[tokio::test]
    async fn a_statement_is_planned_once_whatever_its_parameters_are() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path().join("test.db")).unwrap();
        let threads = Threads::start(&store).unwrap();
        let planned_again = |transaction: &Transaction<'_>| {
            let Engine::Sqlite(connection) = transaction.engine() else {
                panic!("it is SQLite");
            };
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
        let by_reader = threads.read(move |snapshot| planned_again(snapshot));
        assert_eq!(by_reader.await.unwrap(), 0);
        let by_writer = threads.write(move |transaction| planned_again(transaction), |_| ());
        assert_eq!(by_writer.await.unwrap(), 0);
    }
}
