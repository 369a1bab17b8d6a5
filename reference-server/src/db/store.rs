//! [`Store`]: the tokens, in the database that the server's tables are in.

use tower_workspace_token::{
    clock::Timestamp,
    id::{Generation, KeyId, Revision, SlotKey, WorkspaceId},
    store::{ChangeObserver, Freshness, HistoryEvent, StoreError, TokenRecord, TokenStore},
};
use tower_workspace_token_postgres::PostgresStore;
use tower_workspace_token_sqlite::SqliteStore;

/// The store of either database. Cheap to clone; clones share its connections.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Postgres(PostgresStore),
    Sqlite(SqliteStore),
}

/// A slot with a live token, and the key that its row is sealed with, if that can be seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiveSlot {
    pub(crate) key: SlotKey,
    pub(crate) sealed_with: Option<KeyId>,
}

impl Store {
    /// Returns the slots that hold a token, over all workspaces.
    pub(crate) async fn live_slots(&self) -> Result<Vec<LiveSlot>, StoreError> {
        macro_rules! of {
            ($slots:expr) => {
                $slots
                    .into_iter()
                    .map(|slot| LiveSlot {
                        key: slot.key,
                        sealed_with: slot.sealed_with,
                    })
                    .collect()
            };
        }
        Ok(match self {
            Self::Postgres(store) => of!(store.live_slots().await?),
            Self::Sqlite(store) => of!(store.live_slots().await?),
        })
    }

    /// Returns the SQLite store, for what only a file has; `None` if it is another database.
    pub(crate) fn sqlite(&self) -> Option<&SqliteStore> {
        match self {
            Self::Postgres(_) => None,
            Self::Sqlite(store) => Some(store),
        }
    }

    /// Returns the PostgreSQL store, for what only several nodes have.
    pub(crate) fn postgres(&self) -> Option<&PostgresStore> {
        match self {
            Self::Postgres(store) => Some(store),
            Self::Sqlite(_) => None,
        }
    }
}

impl TokenStore for Store {
    async fn get(&self, key: &SlotKey) -> Result<Option<TokenRecord>, StoreError> {
        match self {
            Self::Postgres(store) => store.get(key).await,
            Self::Sqlite(store) => store.get(key).await,
        }
    }

    async fn compare_and_swap(
        &self,
        key: &SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Postgres(store) => store.compare_and_swap(key, expected, next, event).await,
            Self::Sqlite(store) => store.compare_and_swap(key, expected, next, event).await,
        }
    }

    async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<TokenRecord>, StoreError> {
        match self {
            Self::Postgres(store) => store.list(workspace).await,
            Self::Sqlite(store) => store.list(workspace).await,
        }
    }

    async fn history(&self, key: &SlotKey) -> Result<Vec<HistoryEvent>, StoreError> {
        match self {
            Self::Postgres(store) => store.history(key).await,
            Self::Sqlite(store) => store.history(key).await,
        }
    }

    async fn touch(&self, used: &[(SlotKey, Timestamp)]) -> Result<(), StoreError> {
        match self {
            Self::Postgres(store) => store.touch(used).await,
            Self::Sqlite(store) => store.touch(used).await,
        }
    }

    fn watch(&self, observer: ChangeObserver) -> Freshness {
        match self {
            Self::Postgres(store) => store.watch(observer),
            Self::Sqlite(store) => store.watch(observer),
        }
    }

    async fn acknowledged(&self, key: &SlotKey, generation: Generation) {
        match self {
            Self::Postgres(store) => store.acknowledged(key, generation).await,
            Self::Sqlite(store) => store.acknowledged(key, generation).await,
        }
    }
}
