//! The store itself: which thread does what.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::Connection;
use tower_workspace_token::{
    clock::Timestamp,
    id::{KeyId, Revision, SlotKey, WorkspaceId},
    store::{
        ChangeObserver, Freshness, HistoryEvent, Observers, StoreError, TokenRecord, TokenStore,
    },
};

use crate::{
    connection::{self, PATIENCE},
    error::{OpenError, before_commit, file_is_gone, is_busy},
    feed::{Feed, LEASE},
    file::DatabaseFile,
    lookups::Lookups,
    options::Options,
    queries::{self, LiveSlot, Swap},
    readers::Readers,
    schema,
    writer::{Write, Writer},
};

/// Keeps slots in an SQLite file; clones share its connections.
///
/// See the crate's page for what is promised. Its threads end when the last clone is dropped, which
/// waits for the writes that are under way.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: Arc<DatabaseFile>,
    shared: bool,
    feed: Feed,
    lookups: Lookups,
    readers: Readers,
    writer: Writer,
}

impl SqliteStore {
    /// Opens the database at `path`, and makes it if it is not there, with the default [`Options`].
    ///
    /// Blocks for some milliseconds: call it when you start up.
    ///
    /// # Errors
    /// See [`OpenErrorKind`](crate::OpenErrorKind); a file that was there is left as it is.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        Options::new(path).open()
    }

    pub(crate) fn with_options(options: &Options) -> Result<Self, OpenError> {
        let file = Arc::new(DatabaseFile::find_or_create(&options.path)?);
        let mut connection = connection::open(file.path(), PATIENCE)?;
        schema::prepare(&mut connection)?;
        let observers = Arc::new(Observers::default());
        let lookups = connection::open_for_reading(file.path(), PATIENCE)?;
        let inner = Inner {
            shared: options.shared,
            feed: Feed::new(
                Arc::clone(&file),
                Arc::clone(&options.clock),
                Arc::clone(&observers),
            ),
            lookups: Lookups::start(lookups)?,
            readers: Readers::new(Arc::clone(&file)),
            writer: Writer::start(connection, Arc::clone(&file), observers)?,
            file,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Returns the path of the database, as an absolute one.
    pub fn path(&self) -> &Path {
        self.inner.file.path()
    }

    /// Opens another connection to the database, for tables of your own; see the crate's page.
    ///
    /// It has the store's settings: `synchronous=FULL`, foreign keys on, five seconds for locks.
    ///
    /// # Errors
    /// The database can't be reached any longer.
    pub fn connection(&self) -> Result<Connection, OpenError> {
        Ok(connection::open(self.path(), PATIENCE)?)
    }

    /// Returns the slots whose token is sealed with `key`, so that they can be resealed.
    ///
    /// A key for which this is empty can be retired. Slots that a cipher of your own sealed
    /// without a [`Header`](tower_workspace_token::cipher::envelope::Header) are not found.
    ///
    /// # Errors
    /// The store could not look.
    pub async fn slots_sealed_with(&self, key: &KeyId) -> Result<Vec<SlotKey>, StoreError> {
        let key = *key;
        self.look(move |connection| queries::sealed_with(connection, &key))
            .await
    }

    /// Returns the slots that hold a token, over all workspaces, each with the key that its row is sealed with.
    ///
    /// # Errors
    /// The store could not look.
    pub async fn live_slots(&self) -> Result<Vec<LiveSlot>, StoreError> {
        self.look(queries::live_slots).await
    }

    /// Reads on the thread for reads that may take longer.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.refuse_if_gone()?;
        self.inner.lookups.read(look).await
    }

    /// What is read from a file that is no longer there may be long out of date.
    fn refuse_if_gone(&self) -> Result<(), StoreError> {
        match self.inner.file.is_gone() {
            true => Err(file_is_gone()),
            false => Ok(()),
        }
    }
}

impl TokenStore for SqliteStore {
    async fn get(&self, key: &SlotKey) -> Result<Option<TokenRecord>, StoreError> {
        self.refuse_if_gone()?;
        let key = *key;
        let find = move |connection: &Connection| queries::find(connection, &key);
        match self.inner.readers.read(find) {
            Err(error) if is_busy(&error) => self.look(find).await,
            read => read.map_err(before_commit),
        }
    }

    async fn compare_and_swap(
        &self,
        key: &SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Result<(), StoreError> {
        let swap = Box::new(Swap {
            key: *key,
            expected,
            next,
            event,
        });
        self.inner.writer.write(Write::Swap(swap)).await
    }

    async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<TokenRecord>, StoreError> {
        let workspace = *workspace;
        self.look(move |connection| queries::list(connection, &workspace))
            .await
    }

    async fn history(&self, key: &SlotKey) -> Result<Vec<HistoryEvent>, StoreError> {
        let key = *key;
        self.look(move |connection| queries::history(connection, &key))
            .await
    }

    async fn touch(&self, used: &[(SlotKey, Timestamp)]) -> Result<(), StoreError> {
        if used.is_empty() {
            return Ok(());
        }
        self.inner.writer.write(Write::Touch(used.to_vec())).await
    }

    fn watch(&self, observer: ChangeObserver) -> Freshness {
        self.inner.feed.watch(observer);
        Freshness::Lease {
            duration: LEASE,
            shared: self.inner.shared,
        }
    }
}
