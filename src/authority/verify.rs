//! Checking a presented token: from memory where memory may be trusted, from the store otherwise.
//!
//! A token is valid if it *is* the current token of its slot. A right MAC only earns the right to be
//! looked up. The order on the slow path is what the loom models prove: the cell is made before the
//! store is read, the read is observed, and the lease is asked again at the end.

use std::{sync::Arc, time::Duration};

use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::{
    Inner, TokenAuthority,
    access::{KnownAccess, Term},
    keys::context,
    lease::{Lease, VerifiedToken},
    liveness::Hold,
    slots::{Current, CurrentToken, Known, Slot},
};
use crate::{
    clock::Moment,
    id::{Generation, SlotKey, TokenId, WorkspaceId},
    jwt::{AccessClaims, TokenTag, WorkspaceClaims},
    rejection::{Rejection, RejectionKind, TokenProblem},
    store::{Freshness, StoreError, StoreErrorKind, TokenRecord},
    token::{PresentedToken, SealedToken},
};

/// What a check came to without waiting.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It takes a look at the store.
    Pending(Box<PendingCheck>),
    /// The token is not valid.
    Rejected(Rejection),
    /// The token is valid, and was given away.
    Verified,
}

/// A token whose MAC and claims are right, still to be compared with the store.
pub(crate) struct PendingCheck {
    key: SlotKey,
    claims: Claims,
    tag: TokenTag,
    was_in_url: bool,
    /// How often everything was doubted before the MAC was looked at: keys may be replaced while this waits.
    resyncs: u64,
}

/// What a token says of itself.
enum Claims {
    Access(AccessClaims, Arc<Term>),
    Workspace(WorkspaceClaims, Zeroizing<Vec<u8>>),
}

impl TokenAuthority {
    /// Checks that `presented` is the current token of one of the slots of `workspace`.
    ///
    /// # Errors
    /// The rejection says why, for the log. What a client may read of it is the same for every bad token.
    ///
    /// # Security
    /// The comparison covers the whole token and takes constant time.
    pub async fn verify(
        &self,
        workspace: &WorkspaceId,
        presented: PresentedToken<'_>,
    ) -> Result<VerifiedToken, Rejection> {
        match self.checked_now(workspace, presented) {
            Ok(checked) => checked,
            Err(check) => self.settle(check).await,
        }
    }

    /// Checks that `presented` is an access token of the current token of one of the slots of `workspace`.
    ///
    /// # Errors
    /// As of [`verify`](Self::verify), which takes workspace tokens alone.
    ///
    /// # Security
    /// One [from a URL](PresentedToken::from_url) is refused.
    pub async fn verify_access(
        &self,
        workspace: &WorkspaceId,
        presented: PresentedToken<'_>,
    ) -> Result<VerifiedToken, Rejection> {
        let mut verified = None;
        match self.verify_access_now(workspace, presented, |token| verified = Some(token)) {
            None => Err(Rejection::invalid_token(TokenProblem::NotOurs)),
            Some(Verdict::Pending(check)) => self.settle(check).await,
            Some(Verdict::Rejected(rejection)) => Err(rejection),
            Some(Verdict::Verified) => Ok(verified.expect("a valid token is given away")),
        }
    }

    /// Checks as far as memory goes, and returns what is left to do where that is not enough.
    ///
    /// Apart from [`verify`](Self::verify): a token that lives beside what waits is kept and dropped with it.
    #[inline]
    fn checked_now(
        &self,
        workspace: &WorkspaceId,
        presented: PresentedToken<'_>,
    ) -> Result<Result<VerifiedToken, Rejection>, Box<PendingCheck>> {
        let mut verified = None;
        match self.verify_now(workspace, presented, |token, _| verified = Some(token)) {
            Verdict::Pending(check) => Err(check),
            Verdict::Rejected(rejection) => Ok(Err(rejection)),
            Verdict::Verified => Ok(Ok(verified.expect("a valid token is given away"))),
        }
    }

    /// Checks as far as memory goes whether a token is an access token that holds; `None` if it does not begin as one.
    pub(crate) fn verify_access_now(
        &self,
        workspace: &WorkspaceId,
        presented: PresentedToken<'_>,
        accept: impl FnOnce(VerifiedToken),
    ) -> Option<Verdict> {
        let token = presented.expose_secret();
        // In a URL none is: it would be one more thing for logs and histories to keep.
        if presented.was_in_url() || !self.inner.access.codec.begins_as_ours(token) {
            return None;
        }
        let tag = self.inner.memory.tag_key.tag(token)?;
        if let Some(lease) = self.inner.recall_access(workspace, &tag) {
            accept(VerifiedToken::new(lease, false));
            return Some(Verdict::Verified);
        }
        Some(match self.inner.examine_access(workspace, token, tag) {
            Ok(check) => Verdict::Pending(check),
            Err(problem) => Verdict::Rejected(Rejection::invalid_token(problem)),
        })
    }

    /// Checks as far as memory goes. A token that is valid is given to `accept` where it is made, once, with
    /// its hold beside it: it is large, and would otherwise be copied from hand to hand.
    #[inline]
    pub(crate) fn verify_now(
        &self,
        workspace: &WorkspaceId,
        presented: PresentedToken<'_>,
        mut accept: impl FnMut(VerifiedToken, Hold),
    ) -> Verdict {
        let token = presented.expose_secret();
        if !self.inner.workspace_tokens.begins_as_ours(token) {
            return Verdict::Rejected(Rejection::invalid_token(TokenProblem::NotOurs));
        }
        let Some(tag) = self.inner.memory.tag_key.tag(token) else {
            return Verdict::Rejected(Rejection::invalid_token(TokenProblem::NotOurs));
        };
        if self.inner.recall(workspace, presented, &tag, &mut accept) {
            return Verdict::Verified;
        }
        self.inner.examine(workspace, presented, tag, accept)
    }

    /// Checks against the store.
    pub(crate) async fn settle(
        &self,
        check: Box<PendingCheck>,
    ) -> Result<VerifiedToken, Rejection> {
        self.inner.settle(check).await
    }
}

impl Inner {
    /// Finds the slot whose remembered token has this tag, if it is one of `workspace`: the fast path.
    ///
    /// A token that has the tag of one that was minted here is that one, claims and all; at first sight
    /// it shows by its MAC that it was signed with a key that is in force.
    #[inline]
    fn recall(
        self: &Arc<Self>,
        workspace: &WorkspaceId,
        presented: PresentedToken<'_>,
        tag: &TokenTag,
        accept: &mut impl FnMut(VerifiedToken, Hold),
    ) -> bool {
        let Some((key, known)) = self.memory.slots.find(tag) else {
            return false;
        };
        if key.workspace != *workspace || !self.is_fresh(&known) {
            return false;
        }
        // After the MAC once more: keys that are replaced meanwhile raise doubts.
        let is_proven = known.is_proven()
            || (self.has_signed(presented.expose_secret()) && self.is_fresh(&known));
        let hold = is_proven.then(|| known.hold()).flatten();
        let (Some(hold), Some(token_id), Some(generation)) =
            (hold, known.token_id(), known.generation())
        else {
            return false;
        };
        known.prove();
        let lease = Lease::new(*key, token_id, generation, hold);
        accept(VerifiedToken::new(lease, presented.was_in_url()), hold);
        true
    }

    /// Checks the MAC alone.
    #[inline(never)]
    fn has_signed(self: &Arc<Self>, token: &[u8]) -> bool {
        self.start_housekeeping();
        self.workspace_tokens.has_signed(token)
    }

    /// Checks MAC and claims, and asks memory what they are worth.
    fn examine(
        self: &Arc<Self>,
        workspace: &WorkspaceId,
        presented: PresentedToken<'_>,
        tag: TokenTag,
        mut accept: impl FnMut(VerifiedToken, Hold),
    ) -> Verdict {
        let token = presented.expose_secret();
        let resyncs = self.memory.slots.resyncs();
        let Some(claims) = self.open(token) else {
            return Verdict::Rejected(Rejection::invalid_token(TokenProblem::NotOurs));
        };
        self.start_housekeeping();
        if claims.workspace != *workspace {
            return Verdict::Rejected(Rejection::invalid_token(TokenProblem::WrongWorkspace));
        }
        let key = SlotKey::new(claims.workspace, claims.name);
        let slot = self.memory.slots.get(&key);
        match slot.and_then(|slot| self.compare_with_memory(&slot, &claims, &tag)) {
            Some(Ok(lease)) => {
                let hold = lease.hold();
                accept(VerifiedToken::new(lease, presented.was_in_url()), hold);
                Verdict::Verified
            }
            Some(Err(rejection)) => Verdict::Rejected(rejection),
            None => Verdict::Pending(Box::new(PendingCheck {
                key,
                claims: Claims::Workspace(claims, Zeroizing::new(token.to_vec())),
                tag,
                was_in_url: presented.was_in_url(),
                resyncs,
            })),
        }
    }

    /// Checks MAC, claims and times of an access token, and whether its parent is known to have ended.
    fn examine_access(
        self: &Arc<Self>,
        workspace: &WorkspaceId,
        token: &[u8],
        tag: TokenTag,
    ) -> Result<Box<PendingCheck>, TokenProblem> {
        let resyncs = self.memory.slots.resyncs();
        let payload = self.access.codec.open(token);
        let payload = payload.map_err(|_| TokenProblem::NotOurs)?;
        let claims = AccessClaims::from_payload(&payload).map_err(|_| TokenProblem::NotOurs)?;
        self.start_housekeeping();
        if claims.workspace != *workspace {
            return Err(TokenProblem::WrongWorkspace);
        }
        let term = self.check_times(&claims, &tag)?;
        let key = claims.key();
        let slot = self.memory.slots.get(&key);
        if slot.is_some_and(|slot| claims.generation.number() < slot.cell().generation()) {
            return Err(TokenProblem::Superseded);
        }
        Ok(Box::new(PendingCheck {
            key,
            claims: Claims::Access(claims, term),
            tag,
            was_in_url: false,
            resyncs,
        }))
    }

    pub(super) fn open(&self, token: &[u8]) -> Option<WorkspaceClaims> {
        let payload = self.workspace_tokens.open(token).ok()?;
        WorkspaceClaims::from_payload(&payload).ok()
    }

    /// Compares a token whose MAC and claims are right with what is remembered of its slot; `None` if
    /// memory is not enough to tell.
    ///
    /// A generation above the remembered one refutes nothing: another process may just have rotated.
    pub(super) fn compare_with_memory(
        &self,
        slot: &Slot,
        claims: &WorkspaceClaims,
        tag: &TokenTag,
    ) -> Option<Result<Lease, Rejection>> {
        if claims.generation.number() < slot.cell().generation() {
            let superseded = Rejection::superseded_token(slot.key, claims.generation);
            return Some(Err(superseded));
        }
        let known = slot.known()?;
        if known.generation() != Some(claims.generation) || !self.is_fresh(&known) {
            return None;
        }
        let unknown = || Some(Err(unknown()));
        let Some(token_id) = known.token_id() else {
            return unknown();
        };
        // Without a tag, the token was seen through an access token alone.
        if !known.tag()?.matches(tag) {
            return unknown();
        }
        let hold = known.hold()?;
        known.prove();
        let lease = Lease::new(slot.key, token_id, claims.generation, hold);
        Some(Ok(lease))
    }

    /// Compares a token with its row; once more where the answer says too little of the present when it is there.
    async fn settle(&self, check: Box<PendingCheck>) -> Result<VerifiedToken, Rejection> {
        // Before the read: a report that comes in while the store answers must find the cell.
        let slot = self.memory.slots.get_or_create(&check.key);
        for _ in 0..READS {
            let doubts = slot.doubts() + check.resyncs;
            let undoubted = self.memory.slots.doubts_of(&slot);
            let read_at = self.clock.moment();
            let record = self.store.get(&check.key).await.map_err(unread)?;
            let record = record.ok_or_else(|| Rejection::invalid_token(TokenProblem::Unknown))?;
            slot.cell().observe(record.generation.number());
            let token = self.compare(&check, &slot, &record).await?;
            let read = Current {
                revision: record.revision,
                generation: record.generation,
                token: Some(token),
                read_at,
                doubts,
            };
            self.memory.slots.remember(&slot, &read);
            // A doubt in between: what it missed is reported for what was in use by then, and this was not.
            if self.memory.slots.doubts_of(&slot) != undoubted || !self.is_timely(read_at) {
                continue;
            }
            let hold = slot.cell().hold(record.generation.number());
            // Last of all: the generation may have ended while the row was opened.
            if !hold.is_live() {
                return Err(check.superseded());
            }
            slot.mark_used();
            let lease = Lease::new(check.key, record.token_id, record.generation, hold);
            let lease = match &check.claims {
                Claims::Access(_, term) => lease.until(Arc::clone(term)),
                Claims::Workspace(..) => lease,
            };
            return Ok(VerifiedToken::new(lease, check.was_in_url));
        }
        let late = StoreError::with_source(StoreErrorKind::Unavailable, LATE);
        Err(unavailable(late))
    }

    /// Returns whether what was read as of `read_at` may be believed together with the cell, which is asked afterwards.
    ///
    /// Nobody waits for a read that is under way: whoever rotates returns after one lease at the latest. So it began
    /// within the last one; or all changes from before that were reported, and have raised the cell if they were of this slot.
    fn is_timely(&self, read_at: Moment) -> bool {
        let Freshness::Lease { duration, .. } = self.freshness else {
            return true;
        };
        let now = self.clock.moment();
        let is_recent = |as_of: Moment| now.saturating_since(as_of) <= duration;
        is_recent(read_at) || self.memory.confirmed().is_some_and(is_recent)
    }

    /// Compares a presented token with the row, and returns what is to be remembered of the slot's token.
    async fn compare(
        &self,
        check: &PendingCheck,
        slot: &Slot,
        record: &TokenRecord,
    ) -> Result<CurrentToken, Rejection> {
        let sealed = check.sealed_in(record)?;
        match &check.claims {
            Claims::Access(claims, term) => {
                self.compare_access(check, slot, claims, term, record, sealed)
                    .await
            }
            Claims::Workspace(_, presented) => {
                self.compare_token(check, slot, presented, record, sealed)
                    .await?;
                Ok(CurrentToken::proven(check.tag, record.token_id))
            }
        }
    }

    /// Compares every byte of a workspace token with the sealed one.
    async fn compare_token(
        &self,
        check: &PendingCheck,
        slot: &Slot,
        presented: &[u8],
        record: &TokenRecord,
        sealed: &SealedToken,
    ) -> Result<(), Rejection> {
        let known = known_tag_of(slot, record);
        if known.is_some_and(|known| known.matches(&check.tag)) {
            return Ok(());
        }
        let opened = self.cipher().open(&context(record), sealed).await;
        let opened = opened.map_err(unavailable)?;
        self.is_token_of(opened.expose_secret(), presented)
            .then_some(())
            .ok_or_else(unknown)
    }

    /// Asks the sealed token whether an access token comes from it, and remembers one that does.
    async fn compare_access(
        &self,
        check: &PendingCheck,
        slot: &Slot,
        claims: &AccessClaims,
        term: &Arc<Term>,
        record: &TokenRecord,
        sealed: &SealedToken,
    ) -> Result<CurrentToken, Rejection> {
        // Unproven: of the parent's own MAC, nothing was learned under the keys of now.
        let parent = |tag| CurrentToken::unproven(tag, record.token_id);
        if self.access.knows(&check.tag, record, check.resyncs) {
            return Ok(parent(None));
        }
        let opened = self.cipher().open(&context(record), sealed).await;
        let opened = opened.map_err(unavailable)?;
        let opened = opened.expose_secret();
        let key = self.parent_key(opened).ok_or_else(unknown)?;
        if !claims.are_proven_by(&key) {
            return Err(unknown());
        }
        let access = KnownAccess {
            slot: *slot,
            token_id: record.token_id,
            generation: record.generation,
            revision: record.revision,
            resyncs: check.resyncs,
            tag: check.tag,
            term: Arc::clone(term),
        };
        self.remember_access(access);
        Ok(parent(self.tag_of_opened(opened)))
    }

    /// Returns whether what is remembered of a slot may be trusted without a look at the store.
    #[inline]
    pub(super) fn is_fresh(&self, known: &Known) -> bool {
        if !self.memory.slots.is_undoubted(known) {
            return false;
        }
        let Some(bound) = self.staleness_bound() else {
            return true;
        };
        let as_of = match self.freshness {
            // A read says nothing here: whoever rotates may only wait for those who have confirmed something, since
            // they are the ones that the store knows of.
            Freshness::Lease { .. } => self.memory.confirmed(),
            _ => Some(known.read_at()),
        };
        as_of.is_some_and(|as_of| self.clock.moment().saturating_since(as_of) <= bound)
    }

    /// Returns how long memory is trusted after its last confirmation; `None` is forever.
    #[inline]
    pub(super) fn staleness_bound(&self) -> Option<Duration> {
        match self.freshness {
            Freshness::Immediate => None,
            Freshness::Lease { duration, .. } => Some(duration.min(self.max_staleness)),
            Freshness::Unwatched => Some(self.max_staleness),
        }
    }
}

impl PendingCheck {
    fn generation(&self) -> Generation {
        match &self.claims {
            Claims::Access(claims, _) => claims.generation,
            Claims::Workspace(claims, _) => claims.generation,
        }
    }

    fn token_id(&self) -> TokenId {
        match &self.claims {
            Claims::Access(claims, _) => claims.token_id,
            Claims::Workspace(claims, _) => claims.secret.token_id(),
        }
    }

    /// Returns what is sealed in the row of the token that this is, or comes from.
    fn sealed_in<'r>(&self, record: &'r TokenRecord) -> Result<&'r SealedToken, Rejection> {
        if record.generation > self.generation() {
            return Err(self.superseded());
        }
        let sealed = record.sealed.as_ref().filter(|_| {
            record.generation == self.generation() && record.token_id == self.token_id()
        });
        sealed.ok_or_else(unknown)
    }

    /// An access token of an earlier generation is nobody's old token: its holder gets another one with the new one.
    fn superseded(&self) -> Rejection {
        match &self.claims {
            Claims::Access(..) => Rejection::invalid_token(TokenProblem::Superseded),
            Claims::Workspace(claims, _) => {
                Rejection::superseded_token(self.key, claims.generation)
            }
        }
    }
}

/// How often a row is read before a check is given up.
const READS: usize = 2;

const LATE: &str = "the store answered too late to say what holds now, twice";

fn unknown() -> Rejection {
    Rejection::invalid_token(TokenProblem::Unknown)
}

/// Returns the tag of the token in `record`, if it is remembered from that very revision.
fn known_tag_of(slot: &Slot, record: &TokenRecord) -> Option<TokenTag> {
    let known = slot.known()?;
    let is_it =
        slot.key == record.key && known.is_of(record.revision, record.generation, record.token_id);
    is_it.then(|| known.tag())?
}

/// A locked workspace is told from no other bad token: whoever holds an old one learns nothing by it.
fn unread(error: StoreError) -> Rejection {
    match error.kind() {
        StoreErrorKind::Locked => {
            let kind = RejectionKind::InvalidToken(TokenProblem::Locked);
            Rejection::with_source(kind, error)
        }
        _ => unavailable(error),
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Rejection {
    Rejection::with_source(RejectionKind::StoreUnavailable, error)
}

impl std::fmt::Debug for PendingCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingCheck")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
