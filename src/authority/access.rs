//! Access tokens: got in exchange for the token of a slot, short-lived, and dead with it.
//!
//! What one is worth is decided by the cell and the row of the slot that it comes from, as for the workspace
//! token itself. A signing key alone mints none: each carries a proof under a key that only the workspace token, or its
//! row once it is opened, gives away. So one that is seen for the first time costs a look at the store; then it is
//! known by its tag.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Context,
    time::Duration,
};

use secrecy::ExposeSecret as _;
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};

use super::{
    CLOCK_SKEW, Inner, TokenAuthority, VerifiedToken,
    keys::context,
    lease::Lease,
    read_mostly::{ReadMostlyMap, read_mostly_map},
    slots::Slot,
};
use crate::{
    cipher::KeyRing,
    clock::{Clock, Moment, Timestamp},
    error::{Error, ErrorKind},
    id::{Generation, Revision, SlotKey, TokenId, WorkspaceId},
    jwt::{AccessClaims, Codec, ParentKey, SigningKey, TokenTag},
    rejection::TokenProblem,
    store::TokenRecord,
    token::{AccessTokenLife, IssuedAccessToken},
};

/// How long a call or stream may go on once the access token has expired that it was begun with.
const GRACE: Duration = Duration::from_secs(60);

/// How many access tokens of one workspace token are known by their tags: one holder's push out nobody else's.
const KNOWN_PER_TOKEN: usize = 64;

/// What mints access tokens, and what is remembered of those that were verified.
pub(super) struct AccessTokens {
    pub(super) codec: Codec,
    life: AccessTokenLife,
    table: Mutex<HashMap<SlotKey, VecDeque<Arc<KnownAccess>>>>,
    /// By the index of the tag.
    known: ReadMostlyMap<u64, Arc<KnownAccess>>,
}

/// An access token whose MAC, claims and proof were right.
pub(super) struct KnownAccess {
    pub(super) slot: Slot,
    pub(super) token_id: TokenId,
    pub(super) generation: Generation,
    /// The revision of the row that it was compared with.
    pub(super) revision: Revision,
    /// How often everything was doubted before its MAC was looked at.
    pub(super) resyncs: u64,
    pub(super) tag: TokenTag,
    pub(super) term: Arc<Term>,
}

/// How long an access token lets in, and how long what it let in may go on.
pub(crate) struct Term {
    expires_at: Timestamp,
    /// The same on the monotonic clock, which nobody can set back.
    expires_at_moment: Moment,
    clock: Arc<dyn Clock>,
}

/// Wakes a task when a [`Term`] is over. There is one only for what an access token was used for.
pub(crate) struct Deadline {
    term: Arc<Term>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl TokenAuthority {
    /// Exchanges a workspace token that was just verified for an access token, which lets in for 15 minutes, or
    /// for as long as [was chosen](super::TokenAuthorityBuilder::access_token_life).
    ///
    /// The row of the token is read and opened: what is rotated or revoked by then, wherever that was done, is
    /// exchanged for nothing.
    ///
    /// # Errors
    /// [`ErrorKind::NotExchangeable`] if `token` is an access token itself or stood in the URL, [`ErrorKind::Ended`] if it is no
    /// longer the current one; the store or the cipher failed.
    pub async fn exchange(&self, token: &VerifiedToken) -> Result<IssuedAccessToken, Error> {
        if token.expires_at().is_some() || token.was_in_url() {
            return Err(Error::new(ErrorKind::NotExchangeable));
        }
        self.exchange_at(token, |clock| clock.now()).await
    }

    /// Exchanges `token` as of the time that `now` reads once the row has been opened.
    pub(crate) async fn exchange_at(
        &self,
        token: &VerifiedToken,
        now: impl FnOnce(&dyn Clock) -> Timestamp,
    ) -> Result<IssuedAccessToken, Error> {
        let (inner, lease) = (&self.inner, token.lease());
        let parent = inner.parent_of(lease).await?;
        let now = now(&*inner.clock);
        let life = inner.access.life.duration();
        // In whole seconds, as the token says it.
        let expires_at = Timestamp::from_secs(now.saturating_add(life).as_secs());
        let (key, token_id, generation) = (lease.key(), lease.token_id(), lease.generation());
        let claims = AccessClaims::new(key, token_id, generation, [now, expires_at], &parent);
        let issued = IssuedAccessToken {
            workspace: key.workspace,
            name: key.name,
            token_id,
            generation,
            expires_at,
            life,
            text: inner.access.codec.mint(&claims.to_json()),
        };
        // Last of all: whoever rotates while the row is opened is not answered with a token.
        lease.is_live().then_some(issued).ok_or_else(ended)
    }
}

impl Inner {
    /// Reads what proves that an access token comes from the token of `lease`.
    async fn parent_of(&self, lease: &Lease) -> Result<ParentKey, Error> {
        let record = self.read(lease.key()).await?.ok_or_else(ended)?;
        let is_current =
            record.generation == lease.generation() && record.token_id == lease.token_id();
        let sealed = record.sealed.as_ref().filter(|_| is_current);
        let opened = self
            .cipher()
            .open(&context(&record), sealed.ok_or_else(ended)?)
            .await?;
        self.parent_key(opened.expose_secret()).ok_or_else(ended)
    }

    /// Returns the key that access tokens prove themselves under, of what was sealed of their parent; `None` if that
    /// was signed with a key that is out of the ring.
    pub(super) fn parent_key(&self, opened: &[u8]) -> Option<ParentKey> {
        self.signing_key_of(opened)?;
        Some(ParentKey::of(&*self.signature_digest_of(opened)?))
    }

    /// Finds the access token of `workspace` that has this tag, if memory is enough to tell that it holds.
    pub(super) fn recall_access(&self, workspace: &WorkspaceId, tag: &TokenTag) -> Option<Lease> {
        let known = self.access.recall(tag)?;
        if known.slot.key.workspace != *workspace || known.term.has_expired() {
            return None;
        }
        let parent = known.slot.known()?;
        let is_of_current = parent.generation() == Some(known.generation)
            && parent.token_id() == Some(known.token_id);
        let hold = (is_of_current && self.is_fresh(&parent)).then(|| parent.hold())??;
        let lease = Lease::new(known.slot.key, known.token_id, known.generation, hold);
        Some(lease.until(Arc::clone(&known.term)))
    }

    /// Returns what is wrong with the times that an access token names.
    ///
    /// One that is known keeps its term: a clock that was set back since begins no other.
    pub(super) fn check_times(
        &self,
        claims: &AccessClaims,
        tag: &TokenTag,
    ) -> Result<Arc<Term>, TokenProblem> {
        let now = self.clock.now();
        let (begin, end) = (claims.issued_at.as_secs(), claims.expires_at.as_secs());
        // None is minted so: whoever has the keys and a row makes none that outlives the bound either.
        if end <= begin || end - begin > AccessTokenLife::LONGEST.as_secs() {
            return Err(TokenProblem::NotOurs);
        }
        if now >= claims.expires_at {
            return Err(TokenProblem::Expired);
        }
        if claims.issued_at > now.saturating_add(CLOCK_SKEW) {
            return Err(TokenProblem::NotYet);
        }
        match self.access.recall(tag) {
            Some(known) if known.term.has_expired() => Err(TokenProblem::Expired),
            Some(known) => Ok(Arc::clone(&known.term)),
            None => Ok(Arc::new(Term::new(
                Arc::clone(&self.clock),
                claims.expires_at,
            ))),
        }
    }

    /// Remembers an access token, unless keys were replaced meanwhile: the MAC was right under the former ones.
    pub(super) fn remember_access(&self, access: KnownAccess) {
        let resyncs = access.resyncs;
        self.access
            .remember(Arc::new(access), || self.memory.slots.resyncs() == resyncs);
    }
}

impl AccessTokens {
    pub(super) fn new(codec: Codec, life: AccessTokenLife) -> Self {
        Self {
            codec,
            life,
            table: Mutex::default(),
            known: read_mostly_map(),
        }
    }

    pub(super) fn replace_keys(&self, keys: &KeyRing<SigningKey>) {
        self.codec.replace_keys(keys);
    }

    /// Has every access token prove itself anew.
    pub(super) fn forget_known(&self) {
        // Under the lock that `remember` holds: it remembers before this, or sees what went before this.
        let mut table = self.table();
        table.clear();
        self.known.pin().clear();
    }

    /// Forgets those that have expired or ended with their parents.
    pub(super) fn sweep(&self) {
        let mut table = self.table();
        let known = self.known.pin();
        table.retain(|_, of_slot| {
            of_slot.retain(|access| {
                let stays = access.slot.cell().generation() == access.generation.number()
                    && !access.term.has_expired_by_both_clocks();
                if !stays {
                    known.remove(&access.tag.index());
                }
                stays
            });
            !of_slot.is_empty()
        });
    }

    /// Returns whether the access token with this tag was compared with this very revision of its row, under the keys
    /// that were in force when there had been `resyncs`.
    pub(super) fn knows(&self, tag: &TokenTag, record: &TokenRecord, resyncs: u64) -> bool {
        self.recall(tag).is_some_and(|known| {
            known.slot.key == record.key
                && known.revision == record.revision
                && known.token_id == record.token_id
                && known.generation == record.generation
                && known.resyncs == resyncs
        })
    }

    fn recall(&self, tag: &TokenTag) -> Option<Arc<KnownAccess>> {
        let known = self.known.pin();
        let access = known.get(&tag.index())?;
        access.tag.matches(tag).then(|| Arc::clone(access))
    }

    fn remember(&self, access: Arc<KnownAccess>, is_current: impl FnOnce() -> bool) {
        let mut table = self.table();
        if !is_current() {
            return;
        }
        let known = self.known.pin();
        let of_slot = table.entry(access.slot.key).or_default();
        of_slot.retain(|other| !other.tag.matches(&access.tag));
        if of_slot.len() == KNOWN_PER_TOKEN
            && let Some(oldest) = of_slot.pop_front()
        {
            known.remove(&oldest.tag.index());
        }
        known.insert(access.tag.index(), Arc::clone(&access));
        of_slot.push_back(access);
    }

    fn table(&self) -> MutexGuard<'_, HashMap<SlotKey, VecDeque<Arc<KnownAccess>>>> {
        // Nothing panics while the lock is held with the table half-changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        let table = self.table();
        let of_slots: usize = table.values().map(VecDeque::len).sum();
        assert_eq!(of_slots, self.known.len());
        of_slots
    }
}

impl Term {
    fn new(clock: Arc<dyn Clock>, expires_at: Timestamp) -> Self {
        let left = expires_at
            .as_millis()
            .saturating_sub(clock.now().as_millis());
        let expires_at_moment = clock.moment().saturating_add(Duration::from_millis(left));
        Self {
            expires_at,
            expires_at_moment,
            clock,
        }
    }

    pub(crate) fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Returns whether the access token lets nothing more in.
    fn has_expired(&self) -> bool {
        self.clock.now() >= self.expires_at || self.clock.moment() >= self.expires_at_moment
    }

    /// Returns whether nobody has to know any more that it has expired: the clock says so, wherever it was set to.
    fn has_expired_by_both_clocks(&self) -> bool {
        self.clock.now() >= self.expires_at && self.clock.moment() >= self.expires_at_moment
    }

    /// Returns whether what the access token let in has to end.
    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    fn left(&self) -> Duration {
        let ends_at = self.expires_at_moment.saturating_add(GRACE);
        let left = ends_at.saturating_since(self.clock.moment());
        // The monotonic clock may stand still while the machine sleeps.
        let ends_at = self.expires_at.saturating_add(GRACE).as_millis();
        let left_by_date = ends_at.saturating_sub(self.clock.now().as_millis());
        left.min(Duration::from_millis(left_by_date))
    }
}

impl Deadline {
    pub(crate) fn new(term: Arc<Term>) -> Self {
        Self { term, alarm: None }
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.term.is_over()
    }

    /// Has the task woken when the term is over, which may be now.
    ///
    /// Outside of a Tokio runtime nobody wakes it: the next poll afterwards finds out.
    pub(crate) fn wake(&mut self, cx: &mut Context<'_>) {
        loop {
            let left = self.term.left();
            if left.is_zero() {
                return cx.waker().wake_by_ref();
            }
            if self.alarm.is_none() && Handle::try_current().is_err() {
                return;
            }
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(left)));
            if alarm.as_mut().poll(cx).is_pending() {
                return;
            }
            // The two clocks need not agree.
            self.alarm = None;
        }
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Ended)
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokens")
            .field("known", &self.known.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Term")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Deadline").field(&self.term).finish()
    }
}

#[cfg(test)]
mod tests;
