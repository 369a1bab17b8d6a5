//! What a verified request holds: [`VerifiedToken`], the proof of a check, and the [`Lease`] inside of it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{
    access::{Deadline, Term},
    liveness::{Hold, Registration, Use},
};
use crate::{
    clock::Timestamp,
    id::{Generation, SlotKey, TokenId, TokenName, WorkspaceId},
};

/// A credential that was checked: only [`TokenAuthority::verify`](super::TokenAuthority::verify) and
/// [`verify_access`](super::TokenAuthority::verify_access) make one.
///
/// It is a snapshot of the moment of the check; [`lease`](Self::lease) tells whether it still holds.
#[derive(Clone)]
pub struct VerifiedToken {
    lease: Lease,
    was_in_url: bool,
}

/// A claim on one generation of one slot, which ends when that is rotated or revoked; got with an access token, it
/// also ends 60 seconds after that has expired.
///
/// A copy costs as much as copying its 200 bytes: nothing is counted that threads would contend for, unless it was got with
/// an access token.
///
/// It is the authority that knows of rotations: once the last clone of that is dropped, nobody ends a lease,
/// and some day, when its place in memory serves another slot, it holds no longer, without a word.
#[derive(Clone)]
pub struct Lease {
    key: SlotKey,
    token_id: TokenId,
    generation: Generation,
    hold: Hold,
    /// Of an access token alone.
    term: Option<Arc<Term>>,
}

/// Completes when a [`Lease`] ends; see [`Lease::ended`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct LeaseEnded {
    lease: Lease,
    deadline: Option<Box<Deadline>>,
    registration: Option<Registration>,
}

impl VerifiedToken {
    /// Seals the outcome of a check; called where the check was made and nowhere else.
    pub(super) fn new(lease: Lease, was_in_url: bool) -> Self {
        Self { lease, was_in_url }
    }

    /// Returns the workspace that the token opens.
    pub fn workspace(&self) -> &WorkspaceId {
        self.lease.workspace()
    }

    /// Returns the slot that the token fills.
    pub fn name(&self) -> &TokenName {
        self.lease.name()
    }

    /// Returns the public id of the token; of an access token, that of the workspace token it comes from.
    pub fn token_id(&self) -> TokenId {
        self.lease.token_id()
    }

    /// Returns the generation of the token in its slot.
    pub fn generation(&self) -> Generation {
        self.lease.generation()
    }

    /// Returns when the credential lets nothing more in, if it is an access token; a workspace token does not expire.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.lease.expires_at()
    }

    /// Returns whether the credential stood in the URL, where it is easily kept in logs and histories.
    pub fn was_in_url(&self) -> bool {
        self.was_in_url
    }

    /// Returns the lease, for work that outlives the request.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl Lease {
    pub(super) fn new(key: SlotKey, token_id: TokenId, generation: Generation, hold: Hold) -> Self {
        Self {
            key,
            token_id,
            generation,
            hold,
            term: None,
        }
    }

    /// Ends the lease with the term of an access token.
    pub(super) fn until(mut self, term: Arc<Term>) -> Self {
        self.term = Some(term);
        self
    }

    /// Returns whether the token that was checked is still the current one, as far as this process knows.
    pub fn is_live(&self) -> bool {
        self.hold.is_live() && self.term.as_ref().is_none_or(|term| !term.is_over())
    }

    /// Returns when the access token expires that the lease was got with, if it was one.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.term.as_ref().map(|term| term.expires_at())
    }

    /// Waits until the token is rotated or revoked, or an access token has expired for 60 seconds.
    ///
    /// A handler that races its work against this can still answer in its own words; what it has not
    /// answered when the layer looks next is answered with a 401.
    pub fn ended(&self) -> LeaseEnded {
        LeaseEnded {
            lease: self.clone(),
            deadline: self.deadline(),
            registration: None,
        }
    }

    /// Returns the slot.
    pub fn key(&self) -> &SlotKey {
        &self.key
    }

    /// Returns the workspace.
    pub fn workspace(&self) -> &WorkspaceId {
        &self.key.workspace
    }

    /// Returns the name of the slot.
    pub fn name(&self) -> &TokenName {
        &self.key.name
    }

    /// Returns the public id of the token.
    pub fn token_id(&self) -> TokenId {
        self.token_id
    }

    /// Returns the generation of the token in its slot.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    pub(crate) fn hold(&self) -> Hold {
        self.hold
    }

    /// Returns what wakes whoever waits when an access token's time is over.
    pub(crate) fn deadline(&self) -> Option<Box<Deadline>> {
        let term = self.term.as_ref()?;
        Some(Box::new(Deadline::new(Arc::clone(term))))
    }
}

impl Future for LeaseEnded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        match &this.registration {
            Some(registration) => registration.rewake(cx.waker()),
            None => {
                let hold = this.lease.hold();
                this.registration = Some(hold.register(Use::Watch, cx.waker().clone()));
            }
        }
        if this.lease.is_live() {
            if let Some(deadline) = &mut this.deadline {
                deadline.wake(cx);
            }
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl fmt::Debug for VerifiedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("lease", &self.lease)
            .finish()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("workspace", self.workspace())
            .field("name", self.name())
            .field("token_id", &self.token_id())
            .field("generation", &self.generation())
            .field("is_live", &self.is_live())
            .finish()
    }
}
