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
    lease::{Lease, VerifiedToken},
    slots::{Current, CurrentToken, Slot},
};
use crate::{
    cipher::{SealContext, equal_in_constant_time},
    id::{SlotKey, WorkspaceId},
    jwt::{TokenTag, WorkspaceClaims},
    rejection::{Rejection, RejectionKind, TokenProblem},
    store::{Freshness, TokenRecord},
    token::PresentedToken,
};

/// What a check came to without waiting.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It takes a look at the store.
    Pending(Box<PendingCheck>),
    /// The token is not valid.
    Rejected(Rejection),
    /// The token is valid.
    Verified(VerifiedToken),
}

/// A token whose MAC and claims are right, still to be compared with the store.
pub(crate) struct PendingCheck {
    key: SlotKey,
    claims: WorkspaceClaims,
    presented: Zeroizing<Vec<u8>>,
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
        match self.verify_now(workspace, presented) {
            Verdict::Pending(check) => self.settle(check).await,
            Verdict::Rejected(rejection) => Err(rejection),
            Verdict::Verified(token) => Ok(token),
        }
    }

    /// Checks as far as memory goes.
    pub(crate) fn verify_now(
        &self,
        workspace: &WorkspaceId,
        presented: PresentedToken<'_>,
    ) -> Verdict {
        let token = presented.expose_secret();
        if !self.inner.workspace_tokens.begins_as_ours(token) {
            return Verdict::Rejected(Rejection::invalid_token(TokenProblem::NotOurs));
        }
        let tag = self.inner.memory.tag_key.tag(token);
        if let Some(verified) = self.inner.recall(workspace, &tag) {
            return Verdict::Verified(verified);
        }
        let Some(claims) = self.inner.open(token) else {
            return Verdict::Rejected(Rejection::invalid_token(TokenProblem::NotOurs));
        };
        if claims.workspace != *workspace {
            return Verdict::Rejected(Rejection::invalid_token(TokenProblem::WrongWorkspace));
        }
        let key = SlotKey::new(claims.workspace, claims.name);
        if let Some(rejection) = self.inner.refute(&key, &claims, &tag) {
            return Verdict::Rejected(rejection);
        }
        Verdict::Pending(Box::new(PendingCheck {
            key,
            claims,
            presented: Zeroizing::new(token.to_vec()),
        }))
    }

    /// Checks against the store.
    pub(crate) async fn settle(
        &self,
        check: Box<PendingCheck>,
    ) -> Result<VerifiedToken, Rejection> {
        self.inner.start_housekeeping();
        self.inner.settle(check).await
    }
}

impl Inner {
    /// Finds the slot of `workspace` whose remembered token has this tag: the fast path.
    fn recall(&self, workspace: &WorkspaceId, tag: &TokenTag) -> Option<VerifiedToken> {
        self.memory.slots.find(workspace, |slot| {
            let current = slot.current()?;
            let known = current.token.as_ref()?;
            let holds =
                known.tag.matches(tag) && self.is_fresh(slot, &current) && known.lease.is_live();
            holds.then(|| {
                slot.mark_used();
                VerifiedToken::new(known.lease.clone())
            })
        })
    }

    pub(super) fn open(&self, token: &[u8]) -> Option<WorkspaceClaims> {
        let payload = self.workspace_tokens.open(token).ok()?;
        WorkspaceClaims::from_payload(&payload).ok()
    }

    /// Returns why `claims` cannot be those of the current token, if fresh memory is enough to tell.
    ///
    /// A generation above the remembered one refutes nothing: another process may just have rotated. Nor
    /// does the remembered token refute itself: memory that was too old to recall it may have been
    /// confirmed since.
    pub(super) fn refute(
        &self,
        key: &SlotKey,
        claims: &WorkspaceClaims,
        tag: &TokenTag,
    ) -> Option<Rejection> {
        let slot = self.memory.slots.get(key)?;
        if claims.generation.number() < slot.cell.generation() {
            return Some(Rejection::superseded_token(*key, claims.generation));
        }
        let current = slot.current()?;
        let is_known = |known: &CurrentToken| known.tag.matches(tag);
        let knows_better = current.generation == claims.generation.number()
            && !current.token.as_ref().is_some_and(is_known)
            && self.is_fresh(&slot, &current);
        knows_better.then(|| Rejection::invalid_token(TokenProblem::Unknown))
    }

    async fn settle(&self, check: Box<PendingCheck>) -> Result<VerifiedToken, Rejection> {
        // Before the read: a report that comes in while the store answers must find the cell.
        let slot = self.memory.slots.get_or_create(&check.key);
        let doubts = self.memory.slots.doubts_of(&slot);
        let read_at = self.clock.moment();
        let record = self.store.get(&check.key).await.map_err(unavailable)?;
        let record = record.ok_or_else(|| Rejection::invalid_token(TokenProblem::Unknown))?;
        slot.cell.observe(record.generation.number());
        let token = self.compare(&check, &slot, &record).await;
        if let Ok(token) = &token {
            slot.remember(Current {
                revision: record.revision,
                generation: record.generation.number(),
                token: Some(token.clone()),
                read_at,
                doubts,
            });
        }
        let lease = token?.lease;
        // Last of all: the generation may have ended while the row was opened.
        if !lease.is_live() {
            let superseded = Rejection::superseded_token(check.key, check.claims.generation);
            return Err(superseded);
        }
        slot.mark_used();
        Ok(VerifiedToken::new(lease))
    }

    /// Compares a presented token with the row: generation, id, and every byte of the sealed token.
    async fn compare(
        &self,
        check: &PendingCheck,
        slot: &Arc<Slot>,
        record: &TokenRecord,
    ) -> Result<CurrentToken, Rejection> {
        if record.generation > check.claims.generation {
            let superseded = Rejection::superseded_token(check.key, check.claims.generation);
            return Err(superseded);
        }
        let sealed = record.sealed.as_ref().filter(|_| {
            record.generation == check.claims.generation && record.token_id == check.claims.token_id
        });
        let sealed = sealed.ok_or_else(|| Rejection::invalid_token(TokenProblem::Unknown))?;
        let tag = self.memory.tag_key.tag(&check.presented);
        if let Some(known) = slot.token_of(record)
            && known.tag.matches(&tag)
        {
            return Ok(known);
        }
        let context = SealContext {
            key: check.key,
            token_id: record.token_id,
            generation: record.generation,
        };
        let opened = self
            .cipher()
            .open(&context, sealed)
            .await
            .map_err(unavailable)?;
        if !equal_in_constant_time(opened.expose_secret(), &check.presented) {
            return Err(Rejection::invalid_token(TokenProblem::Unknown));
        }
        let generation = record.generation;
        let lease = Lease::new(
            check.key,
            record.token_id,
            generation,
            slot.cell.hold(generation.number()),
        );
        Ok(CurrentToken { tag, lease })
    }

    /// Returns whether what is remembered of `slot` may be trusted without a look at the store.
    pub(super) fn is_fresh(&self, slot: &Slot, current: &Current) -> bool {
        if self.memory.slots.doubts_of(slot) != current.doubts {
            return false;
        }
        let Some(bound) = self.staleness_bound() else {
            return true;
        };
        let confirmed = self
            .memory
            .confirmed()
            .map_or(current.read_at, |confirmed| confirmed.max(current.read_at));
        self.clock.moment().saturating_since(confirmed) <= bound
    }

    /// Returns how long memory is trusted after its last confirmation; `None` is forever.
    pub(super) fn staleness_bound(&self) -> Option<Duration> {
        match self.freshness {
            Freshness::Immediate => None,
            Freshness::Lease { duration, .. } => Some(duration.min(self.max_staleness)),
            Freshness::Unwatched => Some(self.max_staleness),
        }
    }
}

impl Slot {
    /// Returns what is remembered of the token in `record`, if it was read from that very revision.
    fn token_of(&self, record: &TokenRecord) -> Option<CurrentToken> {
        let current = self
            .current()
            .filter(|current| current.revision == record.revision)?;
        current.token.clone()
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
