//! Where slots are kept: the [`TokenStore`] contract.
//!
//! A store keeps one row per slot and changes it only by compare-and-swap on its revision. Rows are
//! never deleted: revoking leaves a tombstone, so that a generation never falls. A store sees
//! sealed tokens alone and holds no key.
//!
//! # Write a store of your own
//! `examples/custom_store.rs` is a whole one on Redis; [`MemoryStore`] and the crates
//! `tower-workspace-token-sqlite` and `tower-workspace-token-postgres` are others.
//!
//! 1. Keep a row as it is given, under its [`SlotKey`], in something that can compare a number and write a row, an
//!    event and a note of the change in one step. Never delete one, and let nothing evict one: a slot that is forgotten
//!    begins at generation 1 again, and a token of that time would be the current one.
//! 2. Decide what *acknowledged* means. [`compare_and_swap`](TokenStore::compare_and_swap) answers `Ok` when the row
//!    outlives a power cut, or an old token can live again. Where that is a setting of the database, look it up when
//!    you open it. Where no answer came, the answer is [`Ambiguous`](StoreErrorKind::Ambiguous), never
//!    [`Unavailable`](StoreErrorKind::Unavailable): the authority then doubts what it remembers.
//! 3. Choose what [`watch`](TokenStore::watch) can promise, and no more: a report that is lost must not extend trust.
//!
//!    | others write | changes can be | [`Freshness`] |
//!    |---|---|---|
//!    | no | told before a write is acknowledged | `Immediate` |
//!    | yes | read from where one stopped: a log, a stream, a change number | `Lease`, `shared: true` |
//!    | yes | only heard by who listens just then | `Unwatched`, with reports all the same |
//!
//!    With a lease, a task asks every few milliseconds what is new, on a quiet store too, and says
//!    [`confirmed`](ChangeObserver::confirmed) with the moment *before* it asked; whatever it cannot account for (a gap,
//!    a connection that broke, a position that is gone) is a [`resync`](ChangeObserver::resync) before that. If it
//!    cannot ask, it confirms nothing, and checks read through once the lease has run out. A fifth of
//!    the lease is a good pause; [`Observers`] keeps whom to tell, and says when the task has to begin and to end. A rotation waits for a lease that is shared, so it should be short; or the
//!    processes tell each other how far they have read, and [`acknowledged`](TokenStore::acknowledged) says so.
//! 4. Run the suite, `conformance` (feature `test-util`), on it: `run`, and `run_shared` if two processes may use it at once.
//!    It proves what can be seen from outside; that a write is durable it cannot see.

use std::{
    error, fmt,
    future::{Future, pending},
    sync::{Arc, Weak},
    time::Duration,
};

use crate::{
    clock::{Moment, Timestamp},
    id::{Generation, Revision, SlotKey, TokenId, WorkspaceId},
    token::SealedToken,
};

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod erased;
pub mod journal;
mod memory;
mod observers;

pub(crate) use erased::ErasedStore;
pub use memory::MemoryStore;
pub use observers::Observers;

/// Keeps the slots of workspaces.
///
/// [`MemoryStore`] is a whole implementation of it in one file.
///
/// Every method may be called from many tasks at once, and a future that is dropped leaves its write
/// whole or undone. An `Arc` of a store is a store.
///
/// To prove that a store of your own keeps the contract, run the suite on it, with the feature
/// `test-util` among your dev-dependencies:
///
#[cfg_attr(feature = "test-util", doc = "```")]
#[cfg_attr(not(feature = "test-util"), doc = "```text")]
/// # use tower_workspace_token::MemoryStore as MyStore;
/// # #[tokio::main]
/// # async fn main() {
/// // In a test of your own, on a runtime of several threads:
/// tower_workspace_token::store::conformance::run(|| async { MyStore::new() }).await;
/// # }
/// ```
pub trait TokenStore: Send + Sync + 'static {
    /// Returns the row of `key`, tombstones included, or `None` if there never was one.
    ///
    /// The read is linearizable: it sees every write that was acknowledged before it began, by
    /// whichever process.
    ///
    /// # Errors
    /// The store could not look; `Ok(None)` is the only way to say "not there".
    fn get(
        &self,
        key: &SlotKey,
    ) -> impl Future<Output = Result<Option<TokenRecord>, StoreError>> + Send;

    /// Replaces the row of `key` by `next` if its revision is `expected`, where `None` is "no row".
    ///
    /// On `Ok` the row is durable, and `event`, if any, was recorded in the same transaction.
    /// `next.key` is `key`. The authority writes revisions one above `expected`; a store keeps what it is given, and
    /// numbers nothing itself, since rows may be brought in from elsewhere. Without an event, the history stays as it is.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`] if the revision was another, and nothing was written;
    /// [`StoreErrorKind::Ambiguous`] if it is not known whether the row was written; any other kind
    /// if it was not.
    fn compare_and_swap(
        &self,
        key: &SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns all rows of `workspace`, tombstones included, ordered by name.
    ///
    /// # Errors
    /// The store could not look.
    fn list(
        &self,
        workspace: &WorkspaceId,
    ) -> impl Future<Output = Result<Vec<TokenRecord>, StoreError>> + Send;

    /// Returns what happened to `key`, oldest first.
    ///
    /// # Errors
    /// The store could not look.
    fn history(
        &self,
        key: &SlotKey,
    ) -> impl Future<Output = Result<Vec<HistoryEvent>, StoreError>> + Send;

    /// Notes when slots were last used; raises no revision, and times only move forward.
    ///
    /// Best effort: what is lost is lost.
    ///
    /// # Errors
    /// The store could not write.
    fn touch(
        &self,
        used: &[(SlotKey, Timestamp)],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Begins to report changes to `observer`, and says how long memory may be trusted between reports.
    ///
    /// Called once per authority, inside a Tokio runtime or outside of one: a store that needs a task for it keeps
    /// the [`Handle`](tokio::runtime::Handle) of the runtime that it was opened in. The store keeps the observer and
    /// drops it when [`ChangeObserver::is_closed`] says so.
    fn watch(&self, observer: ChangeObserver) -> Freshness;

    /// Completes when every other process that trusts its memory of these rows has said that it knows `generation`, or a
    /// later one, of `key`.
    ///
    /// A rotation asks after its commit, where the [lease](Freshness::Lease) is shared, and otherwise waits for the
    /// lease to run out; so does one that gets no answer. By default this never completes, which is always
    /// right. A process has said so when it has reported the change to its observers, and not before.
    fn acknowledged(
        &self,
        key: &SlotKey,
        generation: Generation,
    ) -> impl Future<Output = ()> + Send {
        let _ = (key, generation);
        pending()
    }
}

/// The row of one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenRecord {
    /// The slot.
    pub key: SlotKey,
    /// Raised by one with each write but [`touch`](TokenStore::touch).
    pub revision: Revision,
    /// Raised by one with each rotation and with each revocation.
    pub generation: Generation,
    /// The public id of the token; of the last one, in a tombstone.
    pub token_id: TokenId,
    /// The token at rest; `None` marks a tombstone.
    pub sealed: Option<SealedToken>,
    /// When this generation began.
    pub changed_at: Timestamp,
    /// When a token of this generation was last used, as far as is known.
    pub last_used_at: Option<Timestamp>,
}

/// Something that happened to a slot, as the audit page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryEvent {
    /// What happened.
    pub kind: HistoryEventKind,
    /// The generation that it led to.
    pub generation: Generation,
    /// The token that it made, or, for a revocation, ended.
    pub token_id: TokenId,
    /// When.
    pub at: Timestamp,
    /// Who did it, in the application's own words, if it said so.
    pub actor: Option<String>,
    /// Why, in the application's own words, if it said so.
    pub reason: Option<String>,
}

/// What can happen to a slot. Complete: a new kind would be a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryEventKind {
    /// The slot got a token and had no live one.
    Issued,
    /// The token ended without a successor.
    Revoked,
    /// The token was replaced by the next generation.
    Rotated,
}

/// How long an authority may trust its memory of a store's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// The store reports each change before the write that made it is acknowledged: always.
    Immediate,
    /// As long as this after the last [`ChangeObserver::confirmed`]; then each check reads through.
    Lease {
        /// The lease; [`max_staleness`](crate::authority::TokenAuthorityBuilder::max_staleness) at most.
        duration: Duration,
        /// Whether others may hold a lease on the same rows, so that a rotation has to wait for one to run out.
        shared: bool,
    },
    /// The store reports nothing that can be relied on: the authority polls within its own `max_staleness`. What it
    /// reports all the same takes effect at once.
    Unwatched,
}

/// Receives a store's reports; handed to [`TokenStore::watch`].
#[derive(Clone)]
pub struct ChangeObserver {
    target: Weak<dyn ObserveChanges>,
}

/// What an authority does with a store's reports.
pub(crate) trait ObserveChanges: Send + Sync {
    fn changed(&self, key: &SlotKey, generation: Generation);
    fn resync(&self);
    fn confirmed(&self, as_of: Moment);
    fn in_use(&self) -> Vec<SlotKey> {
        Vec::new()
    }
}

impl ChangeObserver {
    pub(crate) fn new(target: Weak<dyn ObserveChanges>) -> Self {
        Self { target }
    }

    /// Reports that `key` has reached `generation`. Reports may come twice and in any order.
    pub fn changed(&self, key: &SlotKey, generation: Generation) {
        self.with(|target| target.changed(key, generation));
    }

    /// Reports that changes may have been missed: everything in memory is doubted until it is read again. See also
    /// [`in_use`](Self::in_use).
    pub fn resync(&self) {
        self.with(|target| target.resync());
    }

    /// Reports that every change acknowledged before `as_of` has been reported.
    ///
    /// `as_of` is read from the clock *before* the store is asked for changes.
    pub fn confirmed(&self, as_of: Moment) {
        self.with(|target| target.confirmed(as_of));
    }

    /// Returns the slots of which something is in use at this moment: open streams, running calls, work under a lease, and
    /// whoever waits for one to end.
    ///
    /// [`resync`](Self::resync) makes checks read the store, and ends nothing that was let in before. A store whose
    /// processes [acknowledge](TokenStore::acknowledged) what they know reads these rows after a resync, and reports
    /// each as [`changed`](Self::changed), before it acknowledges anything: what has ended then ends here too. Others
    /// need not ask: what is in use is compared with its row by and by.
    pub fn in_use(&self) -> Vec<SlotKey> {
        let target = self.target.upgrade();
        target.map_or_else(Vec::new, |target| target.in_use())
    }

    /// Returns whether nobody listens any longer, so that the store may stop.
    pub fn is_closed(&self) -> bool {
        self.target.strong_count() == 0
    }

    fn with(&self, report: impl FnOnce(&Arc<dyn ObserveChanges>)) {
        if let Some(target) = self.target.upgrade() {
            report(&target);
        }
    }
}

/// A store that failed: opaque but for its kind.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

/// Sorts a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It is not known whether the write happened.
    Ambiguous,
    /// The row had another revision; nothing was written.
    Conflict,
    /// What is stored makes no sense; it was left as it is.
    Corrupt,
    /// There is no room, or no permission, to write; nothing was written.
    Full,
    /// The workspace is locked, since an old copy of its rows was put back: see [`journal`]. Nothing was written.
    Locked,
    /// The store could not be reached, or is too busy; nothing was written.
    Unavailable,
}

impl<S: TokenStore> TokenStore for Arc<S> {
    fn get(
        &self,
        key: &SlotKey,
    ) -> impl Future<Output = Result<Option<TokenRecord>, StoreError>> + Send {
        S::get(self, key)
    }

    fn compare_and_swap(
        &self,
        key: &SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::compare_and_swap(self, key, expected, next, event)
    }

    fn list(
        &self,
        workspace: &WorkspaceId,
    ) -> impl Future<Output = Result<Vec<TokenRecord>, StoreError>> + Send {
        S::list(self, workspace)
    }

    fn history(
        &self,
        key: &SlotKey,
    ) -> impl Future<Output = Result<Vec<HistoryEvent>, StoreError>> + Send {
        S::history(self, key)
    }

    fn touch(
        &self,
        used: &[(SlotKey, Timestamp)],
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::touch(self, used)
    }

    fn watch(&self, observer: ChangeObserver) -> Freshness {
        S::watch(self, observer)
    }

    fn acknowledged(
        &self,
        key: &SlotKey,
        generation: Generation,
    ) -> impl Future<Output = ()> + Send {
        S::acknowledged(self, key, generation)
    }
}

impl TokenRecord {
    /// Makes the row of a live token.
    pub fn live(
        key: SlotKey,
        revision: Revision,
        generation: Generation,
        token_id: TokenId,
        sealed: SealedToken,
        changed_at: Timestamp,
    ) -> Self {
        Self {
            sealed: Some(sealed),
            ..Self::tombstone(key, revision, generation, token_id, changed_at)
        }
    }

    /// Makes the row of a revoked token.
    pub fn tombstone(
        key: SlotKey,
        revision: Revision,
        generation: Generation,
        token_id: TokenId,
        changed_at: Timestamp,
    ) -> Self {
        Self {
            key,
            revision,
            generation,
            token_id,
            sealed: None,
            changed_at,
            last_used_at: None,
        }
    }

    /// Returns whether the slot holds a token.
    pub fn is_live(&self) -> bool {
        self.sealed.is_some()
    }
}

impl HistoryEvent {
    /// Makes an event without an actor and a reason.
    pub fn new(
        kind: HistoryEventKind,
        generation: Generation,
        token_id: TokenId,
        at: Timestamp,
    ) -> Self {
        Self {
            kind,
            generation,
            token_id,
            at,
            actor: None,
            reason: None,
        }
    }
}

impl HistoryEventKind {
    /// Returns the kind as a word for a database column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Revoked => "revoked",
            Self::Rotated => "rotated",
        }
    }

    /// Returns the kind that [`as_str`](Self::as_str) calls `word`.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Issued, Self::Revoked, Self::Rotated]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

impl StoreError {
    /// Makes an error that has no cause of its own.
    pub fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Makes an error out of its cause.
    pub fn with_source(
        kind: StoreErrorKind,
        source: impl Into<Box<dyn error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// Returns what sort of error this is.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Debug for ChangeObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeObserver")
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Ambiguous => "the store did not say whether it committed",
            StoreErrorKind::Conflict => "the row had another revision",
            StoreErrorKind::Corrupt => "the stored data makes no sense",
            StoreErrorKind::Full => "the store has no room or no permission to write",
            StoreErrorKind::Locked => {
                "the workspace is locked: an old copy of its rows was put back"
            }
            StoreErrorKind::Unavailable => "the store is out of reach",
        })
    }
}

impl error::Error for StoreError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
