//! Who is connected, what tokens are used for, and which old tokens are still being tried.
//!
//! What happens is noted in memory, on the path of each request, and written to the tables in batches:
//! refused uses after a second, all else after five. Reading actions flush first, so that the tables
//! are the whole truth. Who is connected is in memory alone.

mod client;
mod connections;
pub(crate) mod figures;
mod hours;
mod observer;
pub(crate) mod store;
mod tally;
mod trail;

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, StatusCode};
use tokio::task::AbortHandle;
use tower_workspace_token::{
    authority::{EndedUses, Lease},
    id::{SlotKey, WorkspaceId},
    rejection::Rejection,
    session::SessionHandle,
};

pub(crate) use client::Client;
pub(crate) use connections::Seen;
pub(crate) use figures::describe as describe_figures;
pub(crate) use tally::{Tally, TallyLayer};

use crate::{
    app::App,
    db::{Database, DatabaseError, ids::random_id},
    live::{Live, Topic},
    nodes::presence::Presence,
    time,
};
use connections::{Connection, Connections, Identity, place};
use hours::{Counter, Counters};
use store::{Cut, Entry, Use};
use trail::{Attempt, Trail};

/// What goes on. Cheap to clone; clones share everything.
///
/// It holds no connection to the database, and nothing of the authority's: sessions hold it.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    live: Live,
    connections: Mutex<Connections>,
    counters: Mutex<Counters>,
    trail: Mutex<Trail>,
    /// Uses of connections that are gone, to be saved.
    departed: Mutex<Vec<Use>>,
    /// Held while a batch is on its way, so that whoever has waited for it reads what is in it.
    flushing: tokio::sync::Mutex<()>,
    /// The hour in which old rows were deleted last.
    pruned: AtomicI64,
}

/// What came of ending a connection.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// It was a session, and is over.
    Ended(Box<Seen>),
    /// It has no session that could be ended.
    NoSession,
    /// There is no such connection.
    NotThere,
    /// Another server has it, and did not end it in time.
    NoAnswer,
}

/// Keeps the tables and the pages up to date, until it is dropped.
#[derive(Debug)]
#[must_use = "it stops when it is dropped"]
pub(crate) struct Keeper(AbortHandle);

impl Activity {
    pub(crate) fn new(live: Live) -> Self {
        Self {
            shared: Arc::new(Shared {
                live,
                connections: Mutex::default(),
                counters: Mutex::default(),
                trail: Mutex::default(),
                departed: Mutex::default(),
                flushing: tokio::sync::Mutex::default(),
                pruned: AtomicI64::new(0),
            }),
        }
    }

    /// Returns the connections of a workspace, idle sessions included, oldest first.
    pub(crate) fn connections(&self, workspace: &WorkspaceId) -> Vec<Seen> {
        let now = time::now();
        let mut seen: Vec<Seen> = self
            .table()
            .of_workspace(workspace)
            .filter(|connection| connection.is_there(now))
            .map(|connection| connection.seen())
            .collect();
        seen.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
        seen
    }

    /// Returns all connections.
    pub(crate) fn all(&self) -> Vec<Seen> {
        let now = time::now();
        let connections = self.table();
        let there = connections.all().filter(|it| it.is_there(now));
        there.map(|connection| connection.seen()).collect()
    }

    /// Returns the connections of one slot, idle sessions included: whom its rotation cuts off.
    pub(crate) fn connections_of(&self, key: &SlotKey) -> Vec<Seen> {
        let mut seen = self.connections(&key.workspace);
        seen.retain(|seen| seen.key == *key);
        seen
    }

    /// Returns how many live connections each workspace has that has any.
    pub(crate) fn counts(&self) -> HashMap<WorkspaceId, usize> {
        let (now, mut counts) = (time::now(), HashMap::new());
        for connection in self.table().all() {
            if connection.is_live(now) {
                *counts.entry(*connection.lease.workspace()).or_default() += 1;
            }
        }
        counts
    }

    /// Ends a connection of a workspace. The token stays as it is, and its client may come back.
    pub(crate) fn end(&self, workspace: &WorkspaceId, id: &str) -> End {
        let now = time::now();
        let found = self
            .table()
            .of_workspace(workspace)
            .find(|connection| connection.id == id && connection.is_there(now))
            .cloned();
        match found {
            None => End::NotThere,
            Some(connection) => match &connection.session {
                None => End::NoSession,
                // Without the lock: the end of a session is told to the observer, which takes it.
                Some(session) if session.end() => End::Ended(Box::new(connection.seen())),
                Some(_) => End::NotThere,
            },
        }
    }

    /// Notes that a token was regenerated, or revoked.
    pub(crate) fn superseded(&self, key: &SlotKey, is_revoked: bool, ended: &EndedUses) {
        figures::superseded(is_revoked, ended);
        self.sweep(time::now());
        let live = &self.shared.live;
        live.announce(Some(&key.workspace), Topic::Tokens);
    }

    /// Writes whom the end of a generation has cut off. A failure is logged: the token is dead all the same.
    pub(crate) async fn note_cut(
        &self,
        database: &Database,
        key: SlotKey,
        generation: u64,
        cut: &[Seen],
    ) {
        // Only who is in the table can be marked there.
        self.flush(database).await;
        let cut = cut.to_vec();
        let work = move |transaction: &crate::db::Transaction<'_>| {
            for seen in &cut {
                let is_its = |other: &&Seen| {
                    other.client.name == seen.client.name && other.address == seen.address
                };
                let is_idle = !cut.iter().filter(is_its).any(|other| other.is_live);
                let cut = Cut {
                    generation,
                    is_idle,
                };
                store::save_cut(transaction, &key, &seen.client, seen.address, cut)?;
            }
            Ok::<_, DatabaseError>(())
        };
        if let Err(error) = database.write(work).await {
            tracing::warn!("whom a rotation has cut off was not saved: {error}");
        }
    }

    /// Writes when a generation that is over was last used, as the store of tokens has counted it: with
    /// the generation, that is forgotten there. A failure is logged: the token is dead all the same.
    pub(crate) async fn note_counted(
        &self,
        database: &Database,
        key: SlotKey,
        generation: u64,
        at: i64,
    ) {
        let work = move |transaction: &crate::db::Transaction<'_>| {
            store::save_counted(transaction, &key, generation, at)
        };
        if let Err(error) = database.write(work).await {
            tracing::warn!("the last use of an old token was not saved: {error}");
        }
    }

    /// Begins to keep the tables and the pages up to date.
    pub(crate) fn keep(app: &App) -> Keeper {
        let (activity, database) = (app.activity().clone(), app.database().clone());
        let (nodes, mut presence) = (app.nodes().clone(), Presence::default());
        let keeping = tokio::spawn(async move {
            for round in 1_u32.. {
                tokio::time::sleep(TICK).await;
                activity.tick();
                presence.keep_up(&activity, &nodes, &database).await;
                let is_due = round.is_multiple_of(TICKS_PER_FLUSH)
                    || !lock(&activity.shared.trail).is_empty();
                if is_due {
                    activity.flush(&database).await;
                }
            }
        });
        Keeper(keeping.abort_handle())
    }

    /// Writes what is not written yet. A failure is logged, since nobody who only reads is to be turned away; what
    /// may go better next time is kept until then.
    pub(crate) async fn flush(&self, database: &Database) {
        if let Err(error) = self.try_flush(database).await {
            tracing::warn!("what tokens were used for was not saved: {error}");
        }
    }

    /// Writes in pieces, so that others who write wait for a piece at most.
    async fn try_flush(&self, database: &Database) -> Result<(), DatabaseError> {
        let _one_at_a_time = self.shared.flushing.lock().await;
        let mut outcome = self.prune(database).await;
        let mut unsaved = Unsaved {
            activity: self,
            entries: self.take_entries(),
        };
        while let Some(piece) = unsaved.next_piece() {
            match self.save(database, Arc::clone(&piece)).await {
                Ok(()) => {}
                Err(error) if error.may_pass() => {
                    self.put_back(piece.iter().cloned());
                    return Err(error);
                }
                // It would fail again, or be counted twice: the others are not to suffer for it.
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// Deletes once an hour what is too old.
    async fn prune(&self, database: &Database) -> Result<(), DatabaseError> {
        let now = time::now();
        let hour = now / store::MILLIS_PER_HOUR;
        if self.shared.pruned.load(Ordering::Relaxed) == hour {
            return Ok(());
        }
        database
            .write(move |transaction| store::prune(transaction, now))
            .await?;
        self.shared.pruned.store(hour, Ordering::Relaxed);
        Ok(())
    }

    async fn save(&self, database: &Database, piece: Arc<[Entry]>) -> Result<(), DatabaseError> {
        let now = time::now();
        let workspaces = piece.iter().map(|entry| *entry.workspace()).collect();
        let work = move |transaction: &crate::db::Transaction<'_>| {
            let mut news = BTreeSet::new();
            for entry in &*piece {
                if entry.save(transaction, now)? {
                    news.insert(*entry.workspace());
                }
            }
            Ok(news)
        };
        let live = self.shared.live.clone();
        let announce = move |news: &BTreeSet<WorkspaceId>| {
            for workspace in news {
                live.announce(Some(workspace), Topic::Tokens);
            }
        };
        let written = database.write_in_workspaces(workspaces, work, announce);
        written.await.map(drop)
    }

    /// Takes what is to be written, by workspace.
    fn take_entries(&self) -> Vec<Entry> {
        let mut uses = std::mem::take(&mut *lock(&self.shared.departed));
        let connections = self.table();
        let unsaved = connections
            .all()
            .filter(|connection| connection.take_unsaved());
        uses.extend(unsaved.map(|connection| use_of(connection)));
        drop(connections);
        // Of two uses of a slot, the later one is to be its last.
        uses.sort_by_key(|used| used.at);
        let mut entries: Vec<Entry> = uses.into_iter().map(Entry::Use).collect();
        entries.extend(
            lock(&self.shared.counters)
                .take()
                .into_iter()
                .map(Entry::Hour),
        );
        let tried = lock(&self.shared.trail).take().into_iter();
        entries.extend(tried.map(|(attempt, times)| Entry::Attempt(attempt, times)));
        entries.sort_by_key(|entry| *entry.workspace());
        entries
    }

    /// Keeps what could not be written, within the bounds of what waits.
    fn put_back(&self, entries: impl Iterator<Item = Entry>) {
        for entry in entries {
            match entry {
                Entry::Attempt(attempt, times) => lock(&self.shared.trail).add(attempt, times),
                Entry::Hour(counted) => lock(&self.shared.counters).put_back(&counted),
                Entry::Use(used) => self.save_later(used),
            }
        }
    }

    /// Drops the connections that are gone, and tells pages of new figures.
    fn tick(&self) {
        let now = time::now();
        self.sweep(now);
        let (mut sessions, mut modern, mut changed) = (0, 0, BTreeSet::new());
        for connection in self.table().all() {
            match connection.session {
                Some(_) if connection.is_live(now) => sessions += 1,
                Some(_) => {}
                None => modern += 1,
            }
            let is_news = connection.take_changed() | connection.take_turned_idle(now);
            if is_news {
                changed.insert(*connection.lease.workspace());
            }
        }
        figures::connections(sessions, modern);
        for workspace in changed {
            self.announce(&workspace);
        }
    }

    fn sweep(&self, now: i64) {
        let gone = self.table().sweep(now);
        for connection in &gone {
            self.depart(connection);
        }
        let workspaces = gone.iter().map(|connection| *connection.lease.workspace());
        for workspace in workspaces.collect::<BTreeSet<_>>() {
            self.announce(&workspace);
        }
    }

    fn announce(&self, workspace: &WorkspaceId) {
        let live = &self.shared.live;
        live.announce(Some(workspace), Topic::Connections);
    }

    fn table(&self) -> MutexGuard<'_, Connections> {
        lock(&self.shared.connections)
    }

    fn counter(&self, workspace: &WorkspaceId) -> Arc<Counter> {
        Arc::clone(lock(&self.shared.counters).of(workspace))
    }

    fn count_call(&self, workspace: &WorkspaceId) {
        lock(&self.shared.counters).of(workspace).call();
    }

    fn of_session(&self, session: &SessionHandle) -> Option<Arc<Connection>> {
        let connections = self.table();
        connections.of_session(session.inner_id()).cloned()
    }

    /// Finds the connection of a client without sessions, or begins one; `None` if there are too many.
    fn of_client(
        &self,
        lease: &Lease,
        name: &str,
        version: &str,
        address: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Option<Arc<Connection>> {
        let connections = self.table();
        if let Some(found) = connections.find(lease, name, version, address) {
            return Some(Arc::clone(found));
        }
        // Still under the lock: clients begin with several requests at once, and are one connection.
        let identity = Identity {
            lease: lease.clone(),
            session: None,
            client: Client::new(name, version),
            agent: Client::of_headers(headers),
            address,
            counter: self.counter(lease.workspace()),
        };
        self.add(connections, identity)
    }

    fn add(
        &self,
        mut connections: MutexGuard<'_, Connections>,
        identity: Identity,
    ) -> Option<Arc<Connection>> {
        let id = random_id().ok()?;
        let connection = Arc::new(Connection::new(id, identity, time::now()));
        let evicted = connections.insert(&connection).ok()?;
        drop(connections);
        if let Some(evicted) = evicted {
            self.depart(&evicted);
        }
        self.announce(connection.lease.workspace());
        Some(connection)
    }

    fn session_is_over(&self, inner_id: &str) {
        let removed = self.table().remove_session(inner_id);
        if let Some(connection) = removed {
            figures::session_ended();
            self.depart(&connection);
            self.announce(connection.lease.workspace());
        }
    }

    /// Notes that the client of a session is somewhere else now.
    fn note_address(&self, connection: &Connection, address: Option<IpAddr>) {
        let unsaved = connection.is_unsaved().then(|| use_of(connection));
        if connection.move_to(address).is_some()
            && let Some(used) = unsaved
        {
            self.save_later(used);
        }
    }

    /// Keeps what is not saved yet of a connection that is gone.
    fn depart(&self, connection: &Connection) {
        if connection.take_unsaved() {
            self.save_later(use_of(connection));
        }
    }

    fn save_later(&self, used: Use) {
        let mut departed = lock(&self.shared.departed);
        if departed.len() < MAX_DEPARTED {
            departed.push(used);
        }
    }

    /// Notes a request that was turned away.
    fn rejected(
        &self,
        rejection: &Rejection,
        workspace: Option<&WorkspaceId>,
        address: Option<IpAddr>,
        agent: impl FnOnce() -> Client,
    ) {
        figures::rejected();
        // A session that is not known any longer is no attempt, but how clients learn to begin another.
        let is_attempt = matches!(
            rejection.status(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        );
        if let Some(workspace) = workspace.filter(|_| is_attempt)
            && let Some(counter) = lock(&self.shared.counters).of_stranger(workspace)
        {
            counter.rejection();
        }
        if let Some(superseded) = rejection.superseded() {
            let attempt = Attempt {
                key: superseded.key,
                generation: superseded.generation.number(),
                address,
                agent: agent(),
            };
            lock(&self.shared.trail).note(attempt, time::now());
        }
    }
}

/// What was taken to be written; the rest is kept when this is dropped, as when the server stops.
struct Unsaved<'a> {
    activity: &'a Activity,
    entries: Vec<Entry>,
}

impl Unsaved<'_> {
    fn next_piece(&mut self) -> Option<Arc<[Entry]>> {
        let most = self.entries.len().min(PIECE);
        (most > 0).then(|| self.entries.drain(..most).collect())
    }
}

impl Drop for Unsaved<'_> {
    fn drop(&mut self) {
        self.activity.put_back(self.entries.drain(..));
    }
}

fn use_of(connection: &Connection) -> Use {
    let seen = connection.seen();
    Use {
        key: seen.key,
        generation: seen.generation,
        client: seen.client,
        agent: seen.agent,
        address: seen.address,
        at: seen.last_seen,
    }
}

/// Says who is where, as in `Claude Code 2.1.330 at 10.0.0.5`.
pub(crate) fn who_and_where(client: &Client, address: Option<IpAddr>) -> String {
    place(client.words(), address)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one of them is held with its content half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How often pages are told of new figures, at most.
const TICK: Duration = Duration::from_secs(1);

const TICKS_PER_FLUSH: u32 = 5;

/// How many rows are written at once: some milliseconds of work.
const PIECE: usize = 100;

/// How many uses of connections that are gone wait to be saved.
const MAX_DEPARTED: usize = 1024;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
