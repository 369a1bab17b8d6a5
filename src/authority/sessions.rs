//! The sessions that were opened with workspace tokens: bound to one generation of one token, counted
//! per token, ended by rotation, DELETE, idleness and age.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    CLOCK_SKEW, Inner,
    lease::Lease,
    liveness::Hold,
    pool::{LoneCell, Pool},
    read_mostly::{ReadMostlyMap, read_mostly_map},
};
use crate::{
    cipher::KeyRing,
    clock::{Moment, Timestamp},
    id::{Generation, SlotKey, TokenId},
    jwt::{Codec, SessionClaims, SessionId, SigningKey, TokenTag},
};

/// How far [`Clock::recent`] is trusted to be behind: a virtual machine may have stood still.
const LONGEST_LAG: Duration = Duration::from_secs(1);

static CELLS: Pool<LoneCell> = Pool::new();

/// Ends what a session is bound to: called once, with the inner service's own session id.
pub(crate) type OnEnd = Arc<dyn Fn(&str) + Send + Sync>;

/// The live sessions of one process.
pub(crate) struct SessionRegistry {
    pub(super) codec: Codec,
    table: Mutex<Table>,
    /// The sessions whose token's MAC and claims were right, found without either: by the index of its tag.
    proven: ReadMostlyMap<u64, Arc<Session>>,
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
    inner_id: HeaderValue,
    /// The tag of the session's token.
    tag: TokenTag,
    expires_at: Timestamp,
    /// The same on the monotonic clock, which nobody can set back.
    expires_at_moment: Moment,
    idle: Duration,
    /// Milliseconds of the monotonic clock.
    last_used: AtomicU64,
    open: AtomicUsize,
    cell: &'static LoneCell,
    /// The generation of the token that the session was opened with.
    token: Hold,
    is_orphan: AtomicBool,
    on_end: OnEnd,
    authority: Weak<Inner>,
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
    took_time: bool,
}

impl SessionRegistry {
    pub(crate) fn new(codec: Codec) -> Self {
        Self {
            codec,
            table: Mutex::default(),
            proven: read_mostly_map(),
        }
    }

    /// Signs and verifies session tokens with `keys` from here on.
    pub(crate) fn replace_keys(&self, keys: &KeyRing<SigningKey>) {
        self.codec.replace_keys(keys);
    }

    /// Has every session token prove itself anew.
    pub(crate) fn forget_proven(&self) {
        // Under the lock that `remember` holds: it remembers before this, or sees what went before this.
        let _table = self.table();
        self.proven.pin().clear();
    }

    /// Ends a session; returns whether it was live.
    pub(crate) fn end(&self, session: &Arc<Session>) -> bool {
        let was_live = self.table().remove(session);
        if was_live {
            self.finish(session);
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
    pub(crate) fn sweep(&self, now: Timestamp, moment: Moment) {
        self.end_all(|table| {
            let in_use = table.by_id.values().filter(|session| session.is_in_use());
            in_use.for_each(|session| session.note_use(moment));
            table
                .by_id
                .values()
                .filter(|session| session.is_over(now, moment) || session.is_left_over())
                .cloned()
                .collect()
        });
    }

    fn end_all(&self, pick: impl FnOnce(&Table) -> Vec<Arc<Session>>) -> usize {
        let mut table = self.table();
        let mut ended = pick(&table);
        ended.retain(|session| table.remove(session));
        drop(table);
        ended.iter().for_each(|session| self.finish(session));
        ended.len()
    }

    /// Ends a session that is in the table no longer.
    fn finish(&self, session: &Session) {
        self.proven.pin().remove(&session.tag.index());
        session.end();
    }

    /// Finds the session whose token has this tag.
    fn recall(&self, tag: &TokenTag) -> Option<Arc<Session>> {
        let proven = self.proven.pin();
        let session = proven.get(&tag.index())?;
        session.tag.matches(tag).then(|| Arc::clone(session))
    }

    fn remember(&self, session: &Arc<Session>, is_current: impl FnOnce() -> bool) {
        let table = self.table();
        // Under the lock, and only while it is in the table: whoever takes it out of that also forgets it here.
        if table.by_id.contains_key(&session.id) && is_current() {
            self.proven
                .pin()
                .insert(session.tag.index(), Arc::clone(session));
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while the lock is held with the table half-changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Opens a session for the inner service's `inner_id` and mints its token.
    ///
    /// A token that has all of its sessions loses the one that was idle for longest, and never one of another token's.
    pub(crate) fn open_session(
        self: &Arc<Self>,
        lease: &Lease,
        inner_id: HeaderValue,
        limits: &SessionLimits,
        on_end: OnEnd,
    ) -> Result<(SecretString, Arc<Session>), NotOpened> {
        let id = SessionId::generate().map_err(|_| NotOpened::Cipher)?;
        let (now, moment) = (self.clock.now(), self.clock.moment());
        let claims = SessionClaims {
            workspace: *lease.workspace(),
            // In whole seconds, as the token says it: the session ends with that.
            expires_at: Timestamp::from_secs(now.saturating_add(limits.lifetime).as_secs()),
            generation: lease.generation(),
            issued_at: now,
            session_id: id,
            token_id: lease.token_id(),
        };
        let token = self.sessions.codec.mint(&claims.to_json());
        let tag = self.memory.tag_key.tag(token.expose_secret().as_bytes());
        let cell = CELLS.take();
        cell.0.observe(Session::LIVE);
        let session = Arc::new(Session {
            id,
            key: *lease.key(),
            token_id: lease.token_id(),
            generation: lease.generation(),
            inner_id,
            tag: tag.expect("a session token is shorter than the longest"),
            expires_at: claims.expires_at,
            expires_at_moment: moment.saturating_add(limits.lifetime),
            idle: limits.idle,
            last_used: AtomicU64::new(self.clock.moment().as_millis()),
            open: AtomicUsize::new(0),
            cell,
            token: lease.hold(),
            is_orphan: AtomicBool::new(false),
            on_end,
            authority: Arc::downgrade(self),
        });
        let evicted = {
            let mut table = self.sessions.table();
            table.insert(Arc::clone(&session), limits.per_token)
        };
        let evicted = evicted.map_err(|()| NotOpened::Limit)?;
        evicted
            .iter()
            .for_each(|session| self.sessions.finish(session));
        // After the insertion: a rotation either finds the session or is seen here.
        if !lease.is_live() {
            self.sessions.end(&session);
            return Err(NotOpened::Ended);
        }
        Ok((token, session))
    }

    /// Begins a call of the live session that `presented` names, if it was opened with the very token of `lease`.
    ///
    /// Unknown, foreign, expired and ended are one answer.
    pub(crate) fn use_session(&self, lease: &Lease, presented: &[u8]) -> Option<SessionUse> {
        let tag = self.memory.tag_key.tag(presented)?;
        let session = match self.sessions.recall(&tag) {
            Some(session) => session,
            None => self.prove_session(lease, presented, &tag)?,
        };
        if !session.is_of(lease) {
            return None;
        }
        let moment = self.clock.moment();
        let mut now = self.clock.recent(moment);
        if session.ends_soon(now) {
            now = self.clock.now();
        }
        if session.is_over(now, moment) {
            self.sessions.end(&session);
            return None;
        }
        let in_use = SessionUse::begin(session, moment);
        // Last of all: a session that has ended meanwhile does not begin a call.
        in_use.session().hold().is_live().then_some(in_use)
    }

    /// Checks MAC and claims of a session token, and remembers its session as one that is found by its tag.
    fn prove_session(
        &self,
        lease: &Lease,
        presented: &[u8],
        tag: &TokenTag,
    ) -> Option<Arc<Session>> {
        let resyncs = self.memory.slots.resyncs();
        let payload = self.sessions.codec.open(presented).ok()?;
        let claims = SessionClaims::from_payload(&payload).ok()?;
        let session = self
            .sessions
            .table()
            .by_id
            .get(&claims.session_id)
            .cloned()?;
        let now = self.clock.now();
        let is_its_own = claims.workspace == *lease.workspace()
            && claims.token_id == lease.token_id()
            && claims.generation == lease.generation()
            && session.is_of(lease);
        let is_in_time =
            now < claims.expires_at && claims.issued_at <= now.saturating_add(CLOCK_SKEW);
        // The very token that was minted for it, and not another one that was signed with our key.
        if !is_its_own || !session.tag.matches(tag) {
            return None;
        }
        if !is_in_time {
            self.sessions.end(&session);
            return None;
        }
        // Not if keys were replaced meanwhile: the MAC was right under the former ones.
        let is_current = || self.memory.slots.resyncs() == resyncs;
        self.sessions.remember(&session, is_current);
        Some(session)
    }
}

impl Table {
    /// Inserts a session and returns those that had to go; `Err` if none of the token's could.
    fn insert(&mut self, session: Arc<Session>, per_token: usize) -> Result<Vec<Arc<Session>>, ()> {
        let surplus = (self.count(&session) + 1).saturating_sub(per_token);
        let evicted = self.idlest(&session, surplus);
        // Before any is taken out: whoever gets no session costs nobody one.
        if evicted.len() < surplus {
            return Err(());
        }
        for idle in &evicted {
            self.remove(idle);
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

    /// Returns as many of the token's unused sessions, those first that were idle for longest.
    fn idlest(&self, session: &Session, most: usize) -> Vec<Arc<Session>> {
        if most == 0 {
            return Vec::new();
        }
        let unused = self.siblings(session).filter(|other| !other.is_in_use());
        let mut unused: Vec<_> = unused.cloned().collect();
        unused.sort_by_cached_key(|other| other.last_used.load(Ordering::SeqCst));
        unused.truncate(most);
        unused
    }
}

impl Session {
    /// The one generation that a session's cell has while the session lives.
    const LIVE: u64 = 1;

    /// Returns the inner service's own id.
    pub(crate) fn inner_id(&self) -> &HeaderValue {
        &self.inner_id
    }

    /// Returns the inner service's own id as text; what it may be was checked when the session was opened.
    pub(crate) fn inner_id_text(&self) -> &str {
        self.inner_id.to_str().unwrap_or_default()
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
        self.cell.0.hold(Self::LIVE)
    }

    /// Ends the session; returns whether it was live.
    pub(crate) fn close(self: &Arc<Self>) -> bool {
        let authority = self.authority.upgrade();
        authority.is_some_and(|authority| authority.sessions.end(self))
    }

    /// Ends another session of the inner service, which has none of ours.
    pub(crate) fn end_stray(&self, inner_id: &HeaderValue) {
        tell_end(&self.on_end, inner_id);
    }

    /// Returns whether the session was opened with the very token of `lease`.
    fn is_of(&self, lease: &Lease) -> bool {
        self.token_id == lease.token_id()
            && self.generation == lease.generation()
            && self.key == *lease.key()
    }

    fn is_over(&self, now: Timestamp, moment: Moment) -> bool {
        let used = Duration::from_millis(self.last_used.load(Ordering::SeqCst));
        let is_idle =
            !self.is_in_use() && moment.saturating_since(Moment::from_start(used)) > self.idle;
        is_idle || moment >= self.expires_at_moment || now >= self.expires_at
    }

    /// Returns whether the recent time is not enough to tell whether the session is too old.
    fn ends_soon(&self, now: Timestamp) -> bool {
        now.saturating_add(LONGEST_LAG) >= self.expires_at
    }

    fn is_in_use(&self) -> bool {
        self.open.load(Ordering::SeqCst) > 0
    }

    fn note_use(&self, moment: Moment) {
        let moment = moment.as_millis();
        // Loaded first: most calls of a busy session come within one tick of the clock.
        if self.last_used.load(Ordering::SeqCst) < moment {
            self.last_used.fetch_max(moment, Ordering::SeqCst);
        }
    }

    /// Returns whether the token ended before the last call of this already: a rotation of this
    /// process, which counts the sessions that it ends, has then had its time.
    fn is_left_over(&self) -> bool {
        !self.token.is_live() && self.is_orphan.swap(true, Ordering::SeqCst)
    }

    fn end(&self) {
        self.cell.0.observe(Self::LIVE + 1);
        tell_end(&self.on_end, &self.inner_id);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        CELLS.give_back(self.cell);
    }
}

impl SessionUse {
    fn begin(session: Arc<Session>, moment: Moment) -> Self {
        session.open.fetch_add(1, Ordering::SeqCst);
        session.note_use(moment);
        Self {
            session,
            took_time: false,
        }
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Notes that the use has to wait: what is over at once ends when it began, without a look at the clock.
    pub(crate) fn take_time(&mut self) {
        self.took_time = true;
    }
}

impl Drop for SessionUse {
    fn drop(&mut self) {
        let session = &self.session;
        if self.took_time
            && let Some(authority) = session.authority.upgrade()
        {
            session.note_use(authority.clock.moment());
        }
        session.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Tells the inner service that its session is over; an id that is no text is none that it knows.
pub(crate) fn tell_end(on_end: &OnEnd, inner_id: &HeaderValue) {
    if let Ok(inner_id) = inner_id.to_str() {
        on_end(inner_id);
    }
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
