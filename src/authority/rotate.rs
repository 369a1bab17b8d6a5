//! Rotating and revoking: the commit, then the end of everything that the old generation left open.
//!
//! The order is commit → raise the cell (from here every check refuses) → wait for running calls to be
//! answered and open streams to end, 500 ms at most → end sessions → return. All of it runs in a task of
//! its own, so that a caller who goes away cannot leave a commit unobserved.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    Inner, Note, Others, TokenAuthority, Wait,
    issue::next_revision,
    liveness::Severed,
    polls::POLLS,
    slots::{Current, CurrentToken, Slot},
};
use crate::{
    clock::Moment,
    error::{Error, ErrorKind},
    id::{Generation, Revision, SlotKey, TokenName, WorkspaceId},
    store::{HistoryEvent, HistoryEventKind, StoreErrorKind, TokenRecord},
    token::IssuedToken,
};

/// How long calls and streams of the old generation have to end by themselves.
const GRACE: Duration = Duration::from_millis(500);

/// How long a rotation that gave up waits for the polls of that moment.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// How often a rotation tries again when the row was rewritten under it without a new generation.
const ATTEMPTS: usize = 8;

/// The outcome of a rotation.
#[derive(Debug)]
#[non_exhaustive]
pub struct RotationReceipt {
    /// The new token: the one time its plaintext can be read.
    pub token: IssuedToken,
    /// What the old token left open.
    pub ended: EndedUses,
}

/// The outcome of a revocation.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RevocationReceipt {
    /// The generation of the tombstone.
    pub generation: Generation,
    /// What the token left open.
    pub ended: EndedUses,
}

/// What was ended by a rotation or revocation: in this process, and in `others`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndedUses {
    /// Sessions that were ended.
    pub sessions: usize,
    /// Open response streams that were ended.
    pub streams: usize,
    /// Running calls that were answered with an error.
    pub calls: usize,
    /// How many of these calls and streams had not ended after 500 ms: their clients don't read. Nothing more reaches them.
    pub left_behind: usize,
    /// Whether, and since when, other processes don't accept the token either.
    pub others: Others,
    /// From the start of the call to its end.
    pub elapsed: Duration,
}

impl TokenAuthority {
    /// Replaces the live token of the slot by the next generation.
    ///
    /// From the commit on, no check accepts the old token. When this returns, no call, stream or
    /// session of it is left in this process, and, if the store has a lease, no other process
    /// trusts its memory of it, unless [`with_wait`](Self::with_wait) chose otherwise. The work goes on if the returned future is dropped.
    ///
    /// Don't await this in the handler of a request that came with the very token: that request is a running call
    /// of the old generation, is answered with a 401, and the new token is lost. Rotate from where
    /// another credential leads: an administrator's login, the command line.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the slot holds no live token, [`ErrorKind::Conflict`] if somebody
    /// else rotated it at the same time, [`ErrorKind::Ambiguous`] if it is not known whether it was
    /// rotated, [`ErrorKind::Runtime`] outside of a Tokio runtime, or the store or cipher failed.
    pub async fn rotate(
        &self,
        workspace: &WorkspaceId,
        name: &TokenName,
    ) -> Result<RotationReceipt, Error> {
        let key = SlotKey::new(*workspace, *name);
        let (inner, note, wait) = self.for_a_task();
        detached(async move { inner.rotate(key, None, note, wait).await }).await
    }

    /// Replaces the live token of the slot if it is the one of `generation`; otherwise as
    /// [`rotate`](Self::rotate).
    ///
    /// For whoever decided by what they saw: of two people who regenerate the token that both look at,
    /// the second does not end what the first has just been shown.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the slot holds the live token of another generation; otherwise as for
    /// [`rotate`](Self::rotate).
    pub async fn rotate_generation(
        &self,
        workspace: &WorkspaceId,
        name: &TokenName,
        generation: Generation,
    ) -> Result<RotationReceipt, Error> {
        let key = SlotKey::new(*workspace, *name);
        let (inner, note, wait) = self.for_a_task();
        detached(async move { inner.rotate(key, Some(generation), note, wait).await }).await
    }

    /// Ends the live token of the slot without a successor; otherwise as [`rotate`](Self::rotate).
    ///
    /// # Errors
    /// As for [`rotate`](Self::rotate).
    pub async fn revoke(
        &self,
        workspace: &WorkspaceId,
        name: &TokenName,
    ) -> Result<RevocationReceipt, Error> {
        let key = SlotKey::new(*workspace, *name);
        let (inner, note, wait) = self.for_a_task();
        detached(async move { inner.revoke(key, None, note, wait).await }).await
    }

    /// Ends the live token of the slot if it is the one of `generation`; otherwise as
    /// [`revoke`](Self::revoke).
    ///
    /// For whoever found that very token where it does not belong: its successor is somebody's new one.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the slot holds the live token of another generation; otherwise as for
    /// [`rotate`](Self::rotate).
    pub async fn revoke_generation(
        &self,
        workspace: &WorkspaceId,
        name: &TokenName,
        generation: Generation,
    ) -> Result<RevocationReceipt, Error> {
        let key = SlotKey::new(*workspace, *name);
        let (inner, note, wait) = self.for_a_task();
        detached(async move { inner.revoke(key, Some(generation), note, wait).await }).await
    }

    /// Revokes every live token of `workspace` and returns what they left open, summed up.
    ///
    /// # Errors
    /// As for [`rotate`](Self::rotate); tokens that were revoked before the error stay revoked.
    pub async fn revoke_all(&self, workspace: &WorkspaceId) -> Result<EndedUses, Error> {
        let mut ended = EndedUses::default();
        for token in self.list(workspace).await? {
            if token.state == super::TokenState::Active {
                match self.revoke(workspace, &token.name).await {
                    Ok(receipt) => ended.add(receipt.ended),
                    // Somebody else revoked it meanwhile, which is all that was asked for.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(ended)
    }

    /// Returns what a task needs that goes on without this.
    fn for_a_task(&self) -> (Arc<Inner>, Note, Wait) {
        (Arc::clone(&self.inner), self.note.clone(), self.wait)
    }
}

/// Runs `work` in a task of its own.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let runtime = tokio::runtime::Handle::try_current()
        .map_err(|error| Error::with_source(ErrorKind::Runtime, error))?;
    runtime
        .spawn(work)
        .await
        .unwrap_or_else(|error| Err(Error::with_source(ErrorKind::Runtime, error)))
}

impl Inner {
    async fn rotate(
        &self,
        key: SlotKey,
        expected: Option<Generation>,
        note: Note,
        wait: Wait,
    ) -> Result<RotationReceipt, Error> {
        let started = self.clock.moment();
        let replaced = self.live_record(&key).await?;
        // The row that is looked at here is the very one that is replaced, or nothing is.
        if expected.is_some_and(|expected| expected != replaced.generation) {
            return Err(Error::new(ErrorKind::Conflict));
        }
        let generation = self.generation_after(&replaced)?;
        let (issued, record) = self.mint(key, Some(replaced.revision), generation).await?;
        let event = HistoryEvent::new(
            HistoryEventKind::Rotated,
            generation,
            issued.id(),
            record.changed_at,
        );
        let token = self.unproven(&issued);
        let severed = self
            .supersede(&replaced, record, token, note.sign(event))
            .await?;
        let ended = self.finish(&key, generation, severed, started, wait).await;
        Ok(RotationReceipt {
            token: issued,
            ended,
        })
    }

    async fn revoke(
        &self,
        key: SlotKey,
        expected: Option<Generation>,
        note: Note,
        wait: Wait,
    ) -> Result<RevocationReceipt, Error> {
        let started = self.clock.moment();
        let replaced = self.live_record(&key).await?;
        if expected.is_some_and(|expected| expected != replaced.generation) {
            return Err(Error::new(ErrorKind::Conflict));
        }
        let generation = self.generation_after(&replaced)?;
        let revision = next_revision(Some(replaced.revision))?;
        let (token_id, now) = (replaced.token_id, self.clock.now());
        let record = TokenRecord::tombstone(key, revision, generation, token_id, now);
        let event = HistoryEvent::new(HistoryEventKind::Revoked, generation, token_id, now);
        let severed = self
            .supersede(&replaced, record, None, note.sign(event))
            .await?;
        let ended = self.finish(&key, generation, severed, started, wait).await;
        Ok(RevocationReceipt { generation, ended })
    }

    async fn live_record(&self, key: &SlotKey) -> Result<TokenRecord, Error> {
        let record = self.read(key).await?;
        record
            .filter(TokenRecord::is_live)
            .ok_or_else(|| Error::new(ErrorKind::NotFound))
    }

    /// Puts `record` in the place of `replaced` and raises the cell.
    ///
    /// A write in between that began no new generation, as a rewrap is, is no conflict: it is tried again.
    async fn supersede(
        &self,
        replaced: &TokenRecord,
        mut record: TokenRecord,
        token: Option<CurrentToken>,
        event: HistoryEvent,
    ) -> Result<(Slot, Severed), Error> {
        let key = replaced.key;
        let mut expected = replaced.revision;
        for _ in 0..ATTEMPTS {
            record.revision = next_revision(Some(expected))?;
            let committed = self
                .commit(
                    &key,
                    Some(expected),
                    record.clone(),
                    token,
                    Some(event.clone()),
                )
                .await;
            match committed {
                Ok(committed) => return Ok(committed),
                Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
                Err(conflict) => {
                    let current = self.live_record(&key).await?;
                    if current.generation != replaced.generation {
                        return Err(conflict);
                    }
                    expected = current.revision;
                }
            }
        }
        Err(Error::new(ErrorKind::Conflict))
    }

    /// Writes a row, makes it and its `token` known in this process, and returns the slot with what the row ended.
    ///
    /// If the store does not say whether it wrote, it is asked; if it cannot be asked, what is
    /// remembered of the slot is doubted, so that every check reads the store until one succeeds.
    pub(super) async fn commit(
        &self,
        key: &SlotKey,
        expected: Option<Revision>,
        record: TokenRecord,
        token: Option<CurrentToken>,
        event: Option<HistoryEvent>,
    ) -> Result<(Slot, Severed), Error> {
        let (revision, generation, token_id) =
            (record.revision, record.generation, record.token_id);
        // Before the commit, so that whoever comes to know the row finds the cell that is raised.
        let slot = self.memory.slots.get_or_create(key);
        let written = Current {
            revision,
            generation,
            token,
            read_at: self.clock.moment(),
            doubts: self.memory.slots.doubts_of(&slot),
        };
        // Counted as it happens: the store itself may report the change before it answers.
        let before = slot.cell().open_below(generation.number());
        match self
            .store
            .compare_and_swap(key, expected, record, event)
            .await
        {
            Ok(()) => {}
            Err(error) if error.kind() == StoreErrorKind::Ambiguous => {
                slot.doubt();
                let found = self.read(key).await.ok().flatten();
                let committed = found.is_some_and(|found| {
                    found.revision >= revision
                        && found.generation == generation
                        && found.token_id == token_id
                });
                if !committed {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
        let observed = slot.cell().observe(generation.number());
        // After an ambiguous answer as well: it was doubted since, so that this is not trusted.
        self.memory.slots.remember(&slot, &written);
        // What was used was the old token: it must not be noted as a use of the new one.
        slot.take_used();
        Ok((slot, before.max(observed)))
    }

    /// Waits until nothing of the old generation is left, here and in other processes.
    async fn finish(
        &self,
        key: &SlotKey,
        generation: Generation,
        (slot, severed): (Slot, Severed),
        started: Moment,
        wait: Wait,
    ) -> EndedUses {
        let committed = self.clock.moment();
        let drained = timeout(GRACE, drain(&slot, generation)).await;
        let left_behind = match drained {
            Ok(()) => 0,
            // Where nothing is registered, it was a poll that did not end: a handler blocks its thread.
            Err(_) => {
                let dismissed = slot.cell().dismiss_below(generation.number());
                // One that asked just before may still be on its way out with its last words.
                let _ = timeout(LAST_WORDS, settle_polls()).await;
                dismissed.total().max(1)
            }
        };
        let sessions = self.end_sessions(key, generation);
        let others = self.tell_others(key, generation, committed, wait).await;
        EndedUses {
            sessions,
            streams: severed.streams,
            calls: severed.calls,
            left_behind,
            others,
            elapsed: self.clock.moment().saturating_since(started),
        }
    }

    #[cfg(feature = "session")]
    fn end_sessions(&self, key: &SlotKey, generation: Generation) -> usize {
        self.sessions.end_below(key, generation)
    }

    #[cfg(not(feature = "session"))]
    fn end_sessions(&self, _key: &SlotKey, _generation: Generation) -> usize {
        0
    }
}

/// Completes when no call or stream of a lower generation is registered and no poll that may have
/// begun under one is still running.
async fn drain(slot: &Slot, generation: Generation) {
    // First the polls: one that is under way may yet register.
    settle_polls().await;
    poll_fn(|cx| slot.cell().poll_drained(generation.number(), cx)).await;
}

/// Completes when no poll is running any longer that is running now.
async fn settle_polls() {
    let mut outstanding = POLLS.outstanding();
    let mut pause = Duration::from_micros(50);
    while !POLLS.settle(&mut outstanding) {
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

impl EndedUses {
    pub(super) fn add(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.streams += other.streams;
        self.calls += other.calls;
        self.left_behind += other.left_behind;
        self.others = self.others.max(other.others);
        self.elapsed += other.elapsed;
    }
}
