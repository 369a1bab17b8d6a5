//! The live connections: who is there now. In memory alone, and bounded.
//!
//! In the era of sessions a connection is a session, from `initialize` to its end. In the era without, it
//! is a client at an address with a token, from its first request until it was not seen for a minute.
//!
//! Few clients end their sessions when they go. A session is live while a call runs, while the client
//! holds its stream open, and for three minutes after it was seen; then it is idle until it is seen again.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tower_workspace_token::{
    authority::Lease,
    id::{SlotKey, WorkspaceId},
    session::SessionHandle,
};
use tower_workspace_token_mcp::{Ongoing, RequestKind};

use super::{Client, hours::Counter};
use crate::time;

/// All live connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_workspace: HashMap<WorkspaceId, Vec<Arc<Connection>>>,
    /// By the id that the session has in rmcp.
    sessions: HashMap<String, Arc<Connection>>,
}

/// One connection.
pub(crate) struct Connection {
    pub(super) id: String,
    pub(super) lease: Lease,
    /// There is none in the era without sessions.
    pub(super) session: Option<SessionHandle>,
    pub(super) client: Client,
    /// What the client calls itself in HTTP.
    pub(super) agent: Client,
    address: Mutex<Option<IpAddr>>,
    /// When it was made, and last seen: milliseconds since 1970.
    pub(super) since: i64,
    last_seen: AtomicI64,
    calls: AtomicU64,
    running: AtomicUsize,
    streams: AtomicUsize,
    /// Of the workspace, for the figures per hour.
    counter: Arc<Counter>,
    /// Something of it is not in the database yet.
    is_unsaved: AtomicBool,
    /// Its figures have changed since pages were told.
    is_changed: AtomicBool,
    /// Pages were told that it is live, and not that it is idle by now.
    is_shown_live: AtomicBool,
}

/// What a connection is, but for what changes in it.
pub(super) struct Identity {
    pub(super) lease: Lease,
    pub(super) session: Option<SessionHandle>,
    pub(super) client: Client,
    pub(super) agent: Client,
    pub(super) address: Option<IpAddr>,
    pub(super) counter: Arc<Counter>,
}

/// How a connection was at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) id: String,
    #[serde(with = "slot_key")]
    pub(crate) key: SlotKey,
    pub(crate) token_id: String,
    pub(crate) generation: u64,
    pub(crate) is_session: bool,
    pub(crate) client: Client,
    pub(crate) agent: Client,
    pub(crate) address: Option<IpAddr>,
    /// Milliseconds since 1970.
    pub(crate) since: i64,
    pub(crate) last_seen: i64,
    pub(crate) calls: u64,
    pub(crate) running: usize,
    pub(crate) streams: usize,
    /// Whether somebody is there, as far as one can tell.
    pub(crate) is_live: bool,
}

impl Connections {
    pub(super) fn of_session(&self, inner_id: &str) -> Option<&Arc<Connection>> {
        self.sessions.get(inner_id)
    }

    /// Finds the connection of a client without sessions.
    pub(super) fn find(
        &self,
        lease: &Lease,
        name: &str,
        version: &str,
        address: Option<IpAddr>,
    ) -> Option<&Arc<Connection>> {
        self.of_workspace(lease.workspace()).find(|connection| {
            connection.session.is_none()
                && connection.lease.key() == lease.key()
                && connection.lease.generation() == lease.generation()
                && connection.address() == address
                && connection.client.was_named(name, version)
        })
    }

    /// Adds a connection; returns the one that had to go for it, if any, or `Err` if there is no room.
    pub(super) fn insert(
        &mut self,
        connection: &Arc<Connection>,
    ) -> Result<Option<Arc<Connection>>, ()> {
        let mut evicted = None;
        match &connection.session {
            // The registry of sessions has bounded these already.
            Some(session) => {
                let inner_id = session.inner_id().to_owned();
                self.sessions.insert(inner_id, Arc::clone(connection));
            }
            None => evicted = self.make_room(connection.lease.workspace())?,
        }
        self.by_workspace
            .entry(*connection.lease.workspace())
            .or_default()
            .push(Arc::clone(connection));
        Ok(evicted)
    }

    /// Drops the client without sessions that was seen longest ago, if there are too many.
    fn make_room(&mut self, workspace: &WorkspaceId) -> Result<Option<Arc<Connection>>, ()> {
        let modern = |connection: &&Arc<Connection>| connection.session.is_none();
        if self.of_workspace(workspace).filter(modern).count() < MODERN_PER_WORKSPACE {
            return Ok(None);
        }
        let idlest = self
            .of_workspace(workspace)
            .filter(modern)
            .filter(|connection| !connection.is_busy())
            .min_by_key(|connection| connection.last_seen.load(Ordering::Relaxed));
        let idlest = Arc::clone(idlest.ok_or(())?);
        self.remove(&idlest);
        Ok(Some(idlest))
    }

    pub(super) fn remove_session(&mut self, inner_id: &str) -> Option<Arc<Connection>> {
        let connection = Arc::clone(self.sessions.get(inner_id)?);
        self.remove(&connection);
        Some(connection)
    }

    fn remove(&mut self, connection: &Arc<Connection>) {
        if let Some(session) = &connection.session {
            self.sessions.remove(session.inner_id());
        }
        let workspace = connection.lease.workspace();
        if let Some(of_workspace) = self.by_workspace.get_mut(workspace) {
            of_workspace.retain(|other| !Arc::ptr_eq(other, connection));
            if of_workspace.is_empty() {
                self.by_workspace.remove(workspace);
            }
        }
    }

    /// Takes out those that are not there any longer.
    pub(super) fn sweep(&mut self, now: i64) -> Vec<Arc<Connection>> {
        let all = self.by_workspace.values().flatten();
        let gone: Vec<_> = all
            .filter(|connection| !connection.is_there(now))
            .cloned()
            .collect();
        gone.iter().for_each(|connection| self.remove(connection));
        gone
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.by_workspace.values().flatten()
    }

    pub(super) fn of_workspace(
        &self,
        workspace: &WorkspaceId,
    ) -> impl Iterator<Item = &Arc<Connection>> {
        self.by_workspace.get(workspace).into_iter().flatten()
    }
}

impl Connection {
    pub(super) fn new(id: String, identity: Identity, now: i64) -> Self {
        Self {
            id,
            lease: identity.lease,
            session: identity.session,
            client: identity.client,
            agent: identity.agent,
            address: Mutex::new(identity.address),
            since: now,
            last_seen: AtomicI64::new(now),
            calls: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            counter: identity.counter,
            is_unsaved: AtomicBool::new(true),
            is_changed: AtomicBool::new(false),
            is_shown_live: AtomicBool::new(true),
        }
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes where the client is now, and returns where it was, if that is another place.
    pub(super) fn move_to(&self, address: Option<IpAddr>) -> Option<Option<IpAddr>> {
        let mut known = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        (*known != address).then(|| std::mem::replace(&mut *known, address))
    }

    /// Notes a request that begins. What is returned to the observer is the connection itself.
    pub(super) fn begin(&self, kind: RequestKind) {
        match kind {
            RequestKind::Call => {
                self.calls.fetch_add(1, Ordering::Relaxed);
                self.running.fetch_add(1, Ordering::Relaxed);
                self.counter.call();
            }
            RequestKind::Stream => {
                self.streams.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        self.touch();
    }

    fn touch(&self) {
        self.last_seen.store(time::now(), Ordering::Relaxed);
        self.is_unsaved.store(true, Ordering::Relaxed);
        self.is_changed.store(true, Ordering::Relaxed);
        self.is_shown_live.store(true, Ordering::Relaxed);
    }

    fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) + self.streams.load(Ordering::Relaxed) > 0
    }

    /// Returns whether the client counts as connected.
    pub(super) fn is_there(&self, now: i64) -> bool {
        let is_recent = now - self.last_seen.load(Ordering::Relaxed) < SEEN_FOR;
        match &self.session {
            Some(session) => session.is_live() && self.lease.is_live(),
            None => self.lease.is_live() && (self.is_busy() || is_recent),
        }
    }

    /// Returns whether somebody is there: a session that nobody has used for a while holds, and is no sign
    /// of its client.
    pub(super) fn is_live(&self, now: i64) -> bool {
        let is_recent = now - self.last_seen.load(Ordering::Relaxed) < LIVE_FOR;
        self.is_there(now) && (self.session.is_none() || self.is_busy() || is_recent)
    }

    /// Returns whether pages show it as live though it is idle by now, and takes them as told.
    pub(super) fn take_turned_idle(&self, now: i64) -> bool {
        !self.is_live(now) && self.is_shown_live.swap(false, Ordering::Relaxed)
    }

    /// Returns whether there is something to be saved, and takes it as saved.
    pub(super) fn take_unsaved(&self) -> bool {
        self.is_unsaved.swap(false, Ordering::Relaxed)
    }

    pub(super) fn is_unsaved(&self) -> bool {
        self.is_unsaved.load(Ordering::Relaxed)
    }

    /// Returns whether pages show old figures, and takes them as told.
    pub(super) fn take_changed(&self) -> bool {
        self.is_changed.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            id: self.id.clone(),
            key: *self.lease.key(),
            token_id: self.lease.token_id().to_string(),
            generation: self.lease.generation().number(),
            is_session: self.session.is_some(),
            client: self.client.clone(),
            agent: self.agent.clone(),
            address: self.address(),
            since: self.since,
            last_seen: self.last_seen.load(Ordering::Relaxed),
            calls: self.calls.load(Ordering::Relaxed),
            running: self.running.load(Ordering::Relaxed),
            streams: self.streams.load(Ordering::Relaxed),
            is_live: self.is_live(time::now()),
        }
    }
}

impl Ongoing for Connection {
    fn ended(&self, kind: RequestKind) {
        let open = match kind {
            RequestKind::Call => &self.running,
            RequestKind::Stream => &self.streams,
            _ => return,
        };
        open.fetch_sub(1, Ordering::Relaxed);
        self.touch();
    }
}

impl Seen {
    /// Says it in words, as in `Claude Code 2.1.330 at 10.0.0.5`.
    pub(crate) fn words(&self) -> String {
        place(self.client.words(), self.address)
    }
}

/// A slot as the pair of its names.
mod slot_key {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};
    use tower_workspace_token::id::SlotKey;

    pub(super) fn serialize<S: Serializer>(key: &SlotKey, to: S) -> Result<S::Ok, S::Error> {
        (key.workspace.as_str(), key.name.as_str()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SlotKey, D::Error> {
        let (workspace, name) = <(String, String)>::deserialize(from)?;
        let workspace = workspace.parse().map_err(D::Error::custom)?;
        let name = name.parse().map_err(D::Error::custom)?;
        Ok(SlotKey::new(workspace, name))
    }
}

/// Adds where somebody is, if that is known.
pub(super) fn place(who: String, address: Option<IpAddr>) -> String {
    match address {
        Some(address) => format!("{who} at {address}"),
        None => who,
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("lease", &self.lease)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// How long a client without sessions counts as connected after it was last seen.
pub(super) const SEEN_FOR: i64 = 60_000;

/// How long a session counts as live after it was last seen, if nothing of it is open.
pub(super) const LIVE_FOR: i64 = 3 * 60_000;

const MODERN_PER_WORKSPACE: usize = 256;
