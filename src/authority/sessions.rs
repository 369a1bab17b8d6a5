//! The sessions that were opened with workspace tokens: bound to one generation of one token, counted
//! per token, ended by rotation, DELETE, idleness and age.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use secrecy::SecretString;

use super::{
    lease::Lease,
    liveness::{Cell, Hold},
    pool::Pool,
};
use crate::{
    cipher::KeyRing,
    clock::{Clock, Moment, Timestamp},
    id::{Generation, SlotKey, TokenId},
    jwt::{Codec, SessionClaims, SessionId, SigningKey},
};

/// How far in the future `iat` may lie: clocks of several nodes differ.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

static CELLS: Pool<Cell> = Pool::new();

/// Ends what a session is bound to: called once, with the inner service's own session id.
pub(crate) type OnEnd = Arc<dyn Fn(&str) + Send + Sync>;

/// The live sessions of one process.
pub(crate) struct SessionRegistry {
    codec: Codec,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_id: HashMap<SessionId, Arc<Session>>,
    by_slot: HashMap<SlotKey, Vec<Arc<Session>>>,
}

/// One session.
pub(crate) struct Session {
    id: SessionId,
    key: SlotKey,
    token_id: TokenId,
    generation: Generation,
    inner_id: String,
    expires_at: Timestamp,
    /// The same on the monotonic clock, which nobody can set back.
    expires_at_moment: Moment,
    idle: Duration,
    /// Milliseconds of the monotonic clock.
    last_used: AtomicU64,
    open: AtomicUsize,
    cell: &'static Cell,
    /// The generation of the token that the session was opened with.
    token: Hold,
    is_orphan: AtomicBool,
    on_end: OnEnd,
    clock: Arc<dyn Clock>,
}

/// How long sessions live and how many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimits {
    pub(crate) lifetime: Duration,
    pub(crate) idle: Duration,
    pub(crate) per_token: usize,
}

/// Why no session was opened.
#[derive(Debug)]
pub(crate) enum NotOpened {
    Cipher,
    /// The token ended meanwhile.
    Ended,
    /// All sessions of the token are in use.
    Limit,
}

/// A call or stream of a session, which is not idle while there is one.
pub(crate) struct SessionUse {
    session: Arc<Session>,
}

impl SessionRegistry {
    pub(crate) fn new(codec: Codec) -> Self {
        Self {
            codec,
            table: Mutex::default(),
        }
    }

    /// Signs and verifies session tokens with `keys` from here on.
    pub(crate) fn replace_keys(&self, keys: &KeyRing<SigningKey>) {
        self.codec.replace_keys(keys);
    }

    /// Opens a session for the inner service's `inner_id` and mints its token.
    ///
    /// A token that has all of its sessions loses the one that was idle for longest, and never one of another token's.
    pub(crate) fn open(
        &self,
        lease: &Lease,
        inner_id: &str,
        limits: &SessionLimits,
        on_end: OnEnd,
        clock: &Arc<dyn Clock>,
    ) -> Result<(SecretString, Arc<Session>), NotOpened> {
        let id = SessionId::generate().map_err(|_| NotOpened::Cipher)?;
        let (now, moment) = (clock.now(), clock.moment());
        let claims = SessionClaims {
            workspace: *lease.workspace(),
            expires_at: now.saturating_add(limits.lifetime),
            generation: lease.generation(),
            issued_at: now,
            session_id: id,
            token_id: lease.token_id(),
        };
        let cell = CELLS.take();
        cell.observe(Session::LIVE);
        let session = Arc::new(Session {
            id,
            key: *lease.key(),
            token_id: lease.token_id(),
            generation: lease.generation(),
            inner_id: inner_id.to_owned(),
            expires_at: claims.expires_at,
            expires_at_moment: moment.saturating_add(limits.lifetime),
            idle: limits.idle,
            last_used: AtomicU64::new(millis(moment)),
            open: AtomicUsize::new(0),
            cell,
            token: lease.hold(),
            is_orphan: AtomicBool::new(false),
            on_end,
            clock: Arc::clone(clock),
        });
        let evicted = self.table().insert(Arc::clone(&session), limits.per_token);
        let evicted = evicted.map_err(|()| NotOpened::Limit)?;
        evicted.iter().for_each(|session| session.end());
        // After the insertion: a rotation either finds the session or is seen here.
        if !lease.is_live() {
            self.end(&session);
            return Err(NotOpened::Ended);
        }
        Ok((self.codec.mint(&claims.to_json()), session))
    }

    /// Finds the live session that `presented` names, if it was opened with the very token of `lease`.
    ///
    /// Unknown, foreign, expired and ended are one answer.
    pub(crate) fn find(&self, lease: &Lease, presented: &[u8]) -> Option<Arc<Session>> {
        let payload = self.codec.open(presented).ok()?;
        let claims = SessionClaims::from_payload(&payload).ok()?;
        let session = self.table().by_id.get(&claims.session_id).cloned()?;
        let now = session.clock.now();
        let is_its_own = claims.workspace == *lease.workspace()
            && claims.token_id == lease.token_id()
            && claims.generation == lease.generation()
            && session.key == *lease.key()
            && session.token_id == lease.token_id()
            && session.generation == lease.generation();
        let is_in_time =
            now < claims.expires_at && claims.issued_at <= now.saturating_add(CLOCK_SKEW);
        if !is_its_own {
            return None;
        }
        if !is_in_time || session.is_over() {
            self.end(&session);
            return None;
        }
        Some(session)
    }

    /// Ends a session; returns whether it was live.
    pub(crate) fn end(&self, session: &Arc<Session>) -> bool {
        let was_live = self.table().remove(session);
        if was_live {
            session.end();
        }
        was_live
    }

    /// Ends the sessions of a slot's generations below `generation` and returns how many there were.
    pub(crate) fn end_below(&self, key: &SlotKey, generation: Generation) -> usize {
        self.end_all(|table| {
            let of_slot = table.by_slot.get(key).into_iter().flatten();
            of_slot
                .filter(|session| session.generation < generation)
                .cloned()
                .collect()
        })
    }

    /// Ends the sessions that are too old or were idle for too long, and those of tokens that ended elsewhere.
    pub(crate) fn sweep(&self) {
        self.end_all(|table| {
            table
                .by_id
                .values()
                .filter(|session| session.is_over() || session.is_left_over())
                .cloned()
                .collect()
        });
    }

    fn end_all(&self, pick: impl FnOnce(&Table) -> Vec<Arc<Session>>) -> usize {
        let mut table = self.table();
        let mut ended = pick(&table);
        ended.retain(|session| table.remove(session));
        drop(table);
        ended.iter().for_each(|session| session.end());
        ended.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while the lock is held with the table half-changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Inserts a session and returns those that had to go; `Err` if none of the token's could.
    fn insert(&mut self, session: Arc<Session>, per_token: usize) -> Result<Vec<Arc<Session>>, ()> {
        let mut evicted = Vec::new();
        while self.count(&session) >= per_token {
            let idlest = self.idlest(&session).ok_or(())?;
            self.remove(&idlest);
            evicted.push(idlest);
        }
        self.by_slot
            .entry(session.key)
            .or_default()
            .push(Arc::clone(&session));
        self.by_id.insert(session.id, session);
        Ok(evicted)
    }

    fn remove(&mut self, session: &Arc<Session>) -> bool {
        if let Some(of_slot) = self.by_slot.get_mut(&session.key) {
            of_slot.retain(|other| other.id != session.id);
            if of_slot.is_empty() {
                self.by_slot.remove(&session.key);
            }
        }
        self.by_id.remove(&session.id).is_some()
    }

    fn siblings<'a>(&'a self, session: &'a Session) -> impl Iterator<Item = &'a Arc<Session>> {
        let of_slot = self.by_slot.get(&session.key).into_iter().flatten();
        of_slot.filter(|other| other.token_id == session.token_id)
    }

    fn count(&self, session: &Session) -> usize {
        self.siblings(session).count()
    }

    fn idlest(&self, session: &Session) -> Option<Arc<Session>> {
        let unused = self
            .siblings(session)
            .filter(|other| other.open.load(Ordering::SeqCst) == 0);
        unused
            .min_by_key(|other| other.last_used.load(Ordering::SeqCst))
            .cloned()
    }
}

impl Session {
    /// The one generation that a session's cell has while the session lives.
    const LIVE: u64 = 1;

    /// Returns the inner service's own id.
    pub(crate) fn inner_id(&self) -> &str {
        &self.inner_id
    }

    pub(crate) fn key(&self) -> &SlotKey {
        &self.key
    }

    pub(crate) fn token_id(&self) -> TokenId {
        self.token_id
    }

    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// Returns the hold that a stream of the session ends with.
    pub(crate) fn hold(&self) -> Hold {
        self.cell.hold(Self::LIVE)
    }

    /// Begins a call.
    pub(crate) fn begin_use(self: &Arc<Self>) -> SessionUse {
        self.open.fetch_add(1, Ordering::SeqCst);
        SessionUse {
            session: Arc::clone(self),
        }
    }

    fn is_over(&self) -> bool {
        let moment = self.clock.moment();
        let used = Duration::from_millis(self.last_used.load(Ordering::SeqCst));
        let is_idle = self.open.load(Ordering::SeqCst) == 0
            && moment.saturating_since(Moment::from_start(used)) > self.idle;
        is_idle || moment >= self.expires_at_moment || self.clock.now() >= self.expires_at
    }

    /// Returns whether the token ended before the last call of this already: a rotation of this
    /// process, which counts the sessions that it ends, has then had its time.
    fn is_left_over(&self) -> bool {
        !self.token.is_live() && self.is_orphan.swap(true, Ordering::SeqCst)
    }

    fn end(&self) {
        self.cell.observe(Self::LIVE + 1);
        (self.on_end)(&self.inner_id);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        CELLS.give_back(self.cell);
    }
}

impl Drop for SessionUse {
    fn drop(&mut self) {
        let session = &self.session;
        session
            .last_used
            .fetch_max(millis(session.clock.moment()), Ordering::SeqCst);
        session.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn millis(moment: Moment) -> u64 {
    moment
        .since_start()
        .as_millis()
        .try_into()
        .unwrap_or(u64::MAX)
}

impl fmt::Debug for SessionRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRegistry")
            .field("sessions", &self.table().by_id.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("key", &self.key)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SessionUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionUse")
            .field("session", &self.session)
            .finish()
    }
}
