//! The store itself: what is shared between its clones.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::Pool;
use secrecy::SecretString;
use tokio::{runtime::Handle, time::timeout};
use tokio_postgres::Client;
use tower_workspace_token::{
    clock::Timestamp,
    id::{Generation, KeyId, Revision, SlotKey, WorkspaceId},
    store::{
        ChangeObserver, Freshness, HistoryEvent, Observers, StoreError, StoreErrorKind,
        TokenRecord, TokenStore, journal::SlotReached,
    },
};

use crate::{
    acknowledgements::Acknowledgements,
    address::Address,
    connector::Connector,
    error::{Failure, OpenError, OpenErrorKind},
    feed::{Feed, Place},
    import::{self, Imported},
    nodes::{self, Node},
    options::Options,
    pool::Connections,
    queries::{self, Terms},
    rows::{self, LiveSlot},
    schema::{self, Database},
    session,
};

/// Keeps slots in a PostgreSQL database; clones share its connections.
///
/// See the crate's page for what is promised. Its tasks end when the last clone is dropped;
/// [`close`](Self::close) first is better, since others then know at once that nobody has to be waited for.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    feed: Feed,
    acknowledgements: Acknowledgements,
    connections: Connections,
    observers: Arc<Observers>,
}

impl PostgresStore {
    /// Connects to the database of `url` with the default [`Options`], and makes the tables if they are not there.
    ///
    /// # Errors
    /// See [`OpenErrorKind`]; tables that were there are left as they are.
    pub async fn connect(url: impl Into<SecretString>) -> Result<Self, OpenError> {
        Options::new(url).connect().await
    }

    pub(crate) async fn with_options(options: Options) -> Result<Self, OpenError> {
        let runtime = Handle::current();
        let connector = Connector::new(Address::of(&options).await?, runtime.clone());
        let (database, node) = open(&connector, &options).await?;
        let connections = Connections::new(
            &connector,
            &database.id,
            options.pool_size,
            options.connect_timeout,
            options.timeout,
        )
        .map_err(|error| OpenError::with_source(OpenErrorKind::Unavailable, error))?;
        let observers = Arc::new(Observers::default());
        let inner = Inner {
            acknowledgements: Acknowledgements::start(&runtime, connections.clone(), &node),
            feed: Feed::new(Place {
                connector,
                clock: options.clock,
                observers: Arc::clone(&observers),
                node,
                channel: format!("wst_{}", database.id),
                database_id: database.id,
                lease: database.lease,
                connect_timeout: options.connect_timeout,
                limit: options.timeout,
            }),
            connections,
            observers,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Returns the pool, for tables of your own; see the crate's page.
    ///
    /// Its sessions are set up as the store needs them: `synchronous_commit` on or stronger, READ COMMITTED, and timeouts of statements and locks. A
    /// setting that you change, change back, or use `SET LOCAL`.
    pub fn pool(&self) -> &Pool {
        self.inner.connections.pool()
    }

    /// Returns how long any process on this database may trust its memory when it hears nothing.
    pub fn lease(&self) -> Duration {
        self.place().lease
    }

    /// Returns the name of this store among the [`nodes`](Self::nodes).
    pub fn node_id(&self) -> &str {
        &self.place().node
    }

    /// Returns the processes that trust their memory of the rows, as the database knows them.
    ///
    /// # Errors
    /// The store could not look.
    pub async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        let nodes = nodes::all(&self.inner.connections, self.node_id()).await;
        nodes.map_err(Failure::of_read)
    }

    /// Returns the slots whose token is sealed with `key`, so that they can be resealed.
    ///
    /// A key for which this is empty can be retired. Slots that a cipher of your own sealed
    /// without a [`Header`](tower_workspace_token::cipher::envelope::Header) are not found.
    ///
    /// # Errors
    /// The store could not look.
    pub async fn slots_sealed_with(&self, key: &KeyId) -> Result<Vec<SlotKey>, StoreError> {
        let slots = rows::sealed_with(&self.inner.connections, key).await;
        slots.map_err(Failure::of_read)
    }

    /// Returns the slots that hold a token, over all workspaces, each with the key that its row is sealed with.
    ///
    /// # Errors
    /// The store could not look.
    pub async fn live_slots(&self) -> Result<Vec<LiveSlot>, StoreError> {
        let slots = rows::live_slots(&self.inner.connections).await;
        slots.map_err(Failure::of_read)
    }

    /// Shows `each` slot of the database, tombstones included, with the generation that it has come to.
    ///
    /// # Errors
    /// The database could not be read, or `each` failed.
    pub async fn for_each_slot<E: From<StoreError>>(
        &self,
        each: impl FnMut(SlotReached) -> Result<(), E>,
    ) -> Result<(), E> {
        rows::for_each_slot(&self.inner.connections, each).await
    }

    /// Brings in rows as they are, with their histories, all or none: for a move from another store, which nobody uses meanwhile.
    ///
    /// Rows that are there with the same content are skipped, so that a move that broke off can be begun again. A
    /// thousand rows at once is a good number.
    ///
    /// # Errors
    /// [`Conflict`](tower_workspace_token::store::StoreErrorKind::Conflict) if a slot is there with another content, or
    /// named twice; [`Ambiguous`](tower_workspace_token::store::StoreErrorKind::Ambiguous) if it is not known whether they were written.
    pub async fn import(
        &self,
        rows: &[(TokenRecord, Vec<HistoryEvent>)],
    ) -> Result<Imported, StoreError> {
        let place = self.place();
        let importing = import::import(&self.inner.connections, &place.channel, rows);
        let (imported, changes) = importing.await?;
        self.inner
            .observers
            .report(|observer| changes.iter().for_each(|change| change.tell(observer)));
        Ok(imported)
    }

    /// Ends what the store does by itself, says so to the others, and closes all connections.
    ///
    /// If an authority still uses the store, this takes one lease, until what it remembers is no longer trusted; its
    /// checks fail from then on. Stop serving first.
    pub async fn close(&self) {
        self.inner.feed.close().await;
        self.pool().close();
    }

    fn place(&self) -> &Place {
        self.inner.feed.place()
    }
}

/// Looks at the server, prepares the tables, and takes a name.
async fn open(connector: &Connector, options: &Options) -> Result<(Database, String), OpenError> {
    let late = |_| OpenError::with_source(OpenErrorKind::Unavailable, "no answer in time");
    let connect = async || {
        let connecting = timeout(options.connect_timeout, connector.line());
        Ok::<_, OpenError>(connecting.await.map_err(late)??)
    };
    let (mut line, mut other) = (connect().await?, connect().await?);
    let probe = session::refuse_lent(&line.client, &mut other.client);
    timeout(options.timeout, probe).await.map_err(late)??;
    drop(other);
    let first = timeout(options.timeout, prepare(&mut line.client, options));
    match first.await.map_err(late)? {
        // Some of them may have crashed.
        Err(error) if error.kind() == OpenErrorKind::LeaseDiffers => {
            nodes::bury_silent(&line.client).await?;
            let again = timeout(options.timeout, prepare(&mut line.client, options));
            again.await.map_err(late)?
        }
        opened => opened,
    }
}

async fn prepare(client: &mut Client, options: &Options) -> Result<(Database, String), OpenError> {
    session::set_up(client, options.timeout).await?;
    session::inspect(client, options.may_forget).await?;
    let database = schema::prepare(client, options.lease).await?;
    let named = client.query_typed_one("SELECT gen_random_uuid()::text", &[]);
    Ok((database, named.await?.try_get(0)?))
}

impl TokenStore for PostgresStore {
    async fn get(&self, key: &SlotKey) -> Result<Option<TokenRecord>, StoreError> {
        let found = queries::find(&self.inner.connections, key).await;
        found.map_err(Failure::of_read)
    }

    async fn compare_and_swap(
        &self,
        key: &SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Result<(), StoreError> {
        let terms = Terms {
            channel: &self.place().channel,
            lease: self.lease(),
        };
        let connections = &self.inner.connections;
        let swapped = queries::swap(connections, terms, key, expected, &next, event.as_ref()).await;
        if !swapped.map_err(Failure::of_write)? {
            return Err(StoreError::new(StoreErrorKind::Conflict));
        }
        self.inner
            .observers
            .report(|observer| observer.changed(key, next.generation));
        Ok(())
    }

    async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<TokenRecord>, StoreError> {
        let rows = queries::list(&self.inner.connections, workspace).await;
        rows.map_err(Failure::of_read)
    }

    async fn history(&self, key: &SlotKey) -> Result<Vec<HistoryEvent>, StoreError> {
        let events = queries::history(&self.inner.connections, key).await;
        events.map_err(Failure::of_read)
    }

    async fn touch(&self, used: &[(SlotKey, Timestamp)]) -> Result<(), StoreError> {
        if used.is_empty() {
            return Ok(());
        }
        let touched = queries::touch(&self.inner.connections, used).await;
        touched.map_err(Failure::of_write)
    }

    fn watch(&self, observer: ChangeObserver) -> Freshness {
        self.inner.feed.watch(observer);
        Freshness::Lease {
            duration: self.lease(),
            shared: true,
        }
    }

    async fn acknowledged(&self, key: &SlotKey, generation: Generation) {
        // Another authority in this process, where the write was one whose answer was lost: nobody has told it, and
        // this node does not wait for itself.
        self.inner
            .observers
            .report(|observer| observer.changed(key, generation));
        self.inner.acknowledgements.of(key, generation).await;
    }
}
