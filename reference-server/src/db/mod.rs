//! The server's own tables, in SQLite or in PostgreSQL: what is written is written in transactions, what is
//! read in snapshots.
//!
//! Statements run on threads that may block, never on the runtime's: SQLite's on two threads of its own, one
//! for the connection that writes and one for the one that reads, PostgreSQL's on one for each transaction.
//! The tokens are in the same database; a transaction asks for a slot's generation in `lease`.

mod dialect;
mod error;
pub(crate) mod ids;
pub(crate) mod lease;
pub(crate) mod meta;
mod migrations;
mod parameters;
mod place;
mod postgres;
#[cfg(test)]
pub(crate) mod scratch;
mod sqlite;
mod store;
#[cfg(test)]
pub(crate) mod testing;
mod transaction;

use std::collections::BTreeSet;

use tower_workspace_token::id::WorkspaceId;
use tower_workspace_token_postgres::deadpool_postgres::Pool;
use tower_workspace_token_sqlite::SqliteStore;

pub use error::DatabaseError;
pub(crate) use migrations::is_newer;
pub(crate) use parameters::Parameters;
pub(crate) use place::{DatabasePlace, Opening, connect};
use postgres::{Connections, Turn};
pub(crate) use rusqlite::{named_params, params};
use sqlite::Threads;
pub(crate) use store::Store;
pub(crate) use transaction::{Engine, OptionalExtension, Row, Transaction};

/// The server's connections. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct Database {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Postgres(Connections),
    Sqlite(Threads),
}

impl Database {
    /// Opens connections to the database of `store`, and brings the server's tables up to date.
    ///
    /// # Errors
    /// The tables are damaged, were made by a newer version, or cannot be written.
    pub fn open(store: &SqliteStore) -> anyhow::Result<Self> {
        Ok(Self {
            kind: Kind::Sqlite(Threads::start(store)?),
        })
    }

    /// The same for PostgreSQL, with the connections of `pool`, which are used in the schema that is theirs.
    ///
    /// # Errors
    /// The tables were made by a newer version, or the database cannot be reached or written.
    pub async fn open_postgres(pool: Pool) -> anyhow::Result<Self> {
        let connections = Connections::new(pool);
        migrations::run_postgres(&connections).await?;
        Ok(Self {
            kind: Kind::Postgres(connections),
        })
    }

    /// Returns whether other servers may use it at the same time.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.kind, Kind::Postgres(_))
    }

    /// Runs `work` in a transaction that is committed if it returns `Ok`.
    ///
    /// Durable on `Ok`. Keep it short: all writes of the database wait for it.
    pub(crate) async fn write<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.write_in_turn(Turn::All, work, |_| ()).await
    }

    /// The same, and runs `then` after the commit, also if nobody waits for the outcome any longer. It must
    /// not block.
    pub(crate) async fn write_then<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.write_in_turn(Turn::All, work, then).await
    }

    /// The same for what looks at one workspace alone: in a database that can, writes to others go on
    /// meanwhile.
    pub(crate) async fn write_in_workspace<T, E>(
        &self,
        workspace: WorkspaceId,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.write_in_workspaces(BTreeSet::from([workspace]), work, then)
            .await
    }

    /// The same for what looks at some workspaces alone.
    pub(crate) async fn write_in_workspaces<T, E>(
        &self,
        workspaces: BTreeSet<WorkspaceId>,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.write_in_turn(Turn::Workspaces(workspaces), work, then)
            .await
    }

    /// The same for what only adds rows, whose order among others' does not matter: it waits for nobody where it
    /// need not.
    pub(crate) async fn append<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.write_in_turn(Turn::Adding, work, |_| ()).await
    }

    async fn write_in_turn<T, E>(
        &self,
        turn: Turn,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        match &self.kind {
            Kind::Postgres(connections) => connections.write(turn, work, then).await,
            Kind::Sqlite(threads) => threads.write(work, then).await,
        }
    }

    /// Runs `work` in one snapshot.
    pub(crate) async fn read<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        match &self.kind {
            Kind::Postgres(connections) => connections.read(work).await,
            Kind::Sqlite(threads) => threads.read(work).await,
        }
    }
}
