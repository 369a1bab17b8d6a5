//! What an authority remembers of slots: a live cell each, and of a live token a keyed tag.
//!
//! A presented token is looked for by its tag, so that nothing that depends on a workspace is looked at before
//! somebody has shown a token of it. Memory is bounded by the tokens that were ever issued or verified here: a slot
//! is made only for a token whose MAC is right, and is never dropped before the table, since a cell that somebody
//! holds must stay the only one.

mod index;
mod record;
mod shelves;

use std::{
    hash::BuildHasher as _,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use foldhash::fast::RandomState;

use self::{
    index::{Fingerprint, Index},
    record::Seen,
    shelves::{Shelves, SlotState},
};
use super::liveness::{Cell, Hold};
use crate::{
    clock::Moment,
    id::{Generation, Revision, SlotKey, TokenId},
    jwt::TokenTag,
};

/// The slots that this process has dealt with.
#[derive(Debug, Default)]
pub(super) struct SlotTable {
    by_tag: Index,
    by_key: Index,
    hasher: RandomState,
    slots: Shelves,
    /// How many slots there are. Whoever holds it is the one writer of all of the above.
    count: Mutex<u32>,
    /// How often everything in memory was doubted at once.
    resyncs: AtomicU64,
}

/// One slot, in the hand of whoever reads or writes its row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) key: SlotKey,
    number: u32,
    state: &'static SlotState,
}

/// What is to be remembered of a slot's row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Current {
    pub(super) revision: Revision,
    pub(super) generation: Generation,
    /// `None` for a tombstone.
    pub(super) token: Option<CurrentToken>,
    /// When the read or write began.
    pub(super) read_at: Moment,
    /// The doubts when the read or write began.
    pub(super) doubts: u64,
}

/// The live token of a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct CurrentToken {
    /// `None` if the slot was seen through an access token alone.
    tag: Option<TokenTag>,
    id: TokenId,
    /// Whether the token was presented here and its MAC was found right.
    is_proven: bool,
}

/// What is remembered of a slot's row, as of one moment.
#[derive(Clone, Copy)]
pub(super) struct Known {
    state: &'static SlotState,
    seen: Seen<WORDS>,
}

/// What a [`Current`] takes: the tag, the id of the token, and a word for each of the rest.
const WORDS: usize = 10;

impl SlotTable {
    /// Finds the slot whose remembered token has this tag.
    #[inline]
    pub(super) fn find(&self, tag: &TokenTag) -> Option<(&SlotKey, Known)> {
        self.by_tag.find(fingerprint_of(tag), |number| {
            let (key, state) = self.slots.get(number)?;
            let known = Known::of(state)?;
            known.tag()?.matches(tag).then_some((key, known))
        })
    }

    pub(super) fn get(&self, key: &SlotKey) -> Option<Slot> {
        self.by_key.find(self.fingerprint(key), |number| {
            self.slot(number).filter(|slot| slot.key == *key)
        })
    }

    /// Returns the slot of `key`, and makes it if there is none. Called only for a `key` whose
    /// existence a MAC or this application vouches for.
    pub(super) fn get_or_create(&self, key: &SlotKey) -> Slot {
        if let Some(slot) = self.get(key) {
            return slot;
        }
        let mut count = self.write();
        // Somebody else may have made it meanwhile: there must not be two.
        if let Some(slot) = self.get(key) {
            return slot;
        }
        let number = *count;
        let state = self.slots.make(number, *key);
        *count = number.checked_add(1).expect("2^32 slots fill no memory");
        self.by_key.insert(self.fingerprint(key), number);
        Slot {
            key: *key,
            number,
            state,
        }
    }

    /// Remembers what was read or written, unless something newer is remembered already.
    pub(super) fn remember(&self, slot: &Slot, read: &Current) {
        let _only_writer = self.write();
        let before = slot.known();
        if before.is_some_and(|known| known.age() > read.age()) {
            return;
        }
        let tag_before = before.and_then(|known| known.tag());
        let token = read.token.map(|token| {
            // Who saw the slot through an access token alone has not learned that its tag is another one.
            let same = before.filter(|it| it.is_of(read.revision, read.generation, token.id));
            let tag = token.tag.or_else(|| same?.tag());
            CurrentToken { tag, ..token }
        });
        let read = Current { token, ..*read };
        let is_proven = token.is_some_and(|token| token.is_proven);
        slot.state.current.write(read.to_words(), is_proven);
        let tag = token.and_then(|token| token.tag);
        match (tag_before, tag) {
            (Some(before), Some(tag)) if before.matches(&tag) => {}
            (before, tag) => {
                if let Some(before) = before {
                    self.by_tag.remove(fingerprint_of(&before), slot.number);
                }
                if let Some(tag) = tag {
                    self.by_tag.insert(fingerprint_of(&tag), slot.number);
                }
            }
        }
    }

    /// Collects what `pick` wants of all slots.
    pub(super) fn collect<T>(&self, pick: impl FnMut(Slot) -> Option<T>) -> Vec<T> {
        let count = *self.write();
        let slots = (0..count).filter_map(|number| self.slot(number));
        slots.filter_map(pick).collect()
    }

    /// Returns the slots that something waits on: streams, calls, work.
    pub(super) fn in_use(&self) -> Vec<Slot> {
        self.collect(|slot| slot.cell().is_watched().then_some(slot))
    }

    /// Doubts everything that is remembered.
    pub(super) fn doubt_all(&self) {
        self.resyncs.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns how often everything was doubted.
    pub(super) fn resyncs(&self) -> u64 {
        self.resyncs.load(Ordering::SeqCst)
    }

    /// Returns a number that rises whenever what is remembered of `slot` is doubted.
    pub(super) fn doubts_of(&self, slot: &Slot) -> u64 {
        self.doubts(slot.state)
    }

    /// Returns whether nobody has doubted what is remembered of a slot since it was read.
    #[inline]
    pub(super) fn is_undoubted(&self, known: &Known) -> bool {
        self.doubts(known.state) == known.doubts()
    }

    #[inline]
    fn doubts(&self, state: &SlotState) -> u64 {
        // Both only rise, so their sum stands still only if both do.
        state.doubts() + self.resyncs.load(Ordering::SeqCst)
    }

    fn slot(&self, number: u32) -> Option<Slot> {
        let (key, state) = self.slots.get(number)?;
        Some(Slot {
            key: *key,
            number,
            state,
        })
    }

    fn fingerprint(&self, key: &SlotKey) -> Fingerprint {
        Fingerprint::of(self.hasher.hash_one(key))
    }

    fn write(&self) -> MutexGuard<'_, u32> {
        // Nothing panics while the lock is held with a slot half-made or half-remembered.
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tag is spread by a random key as no hash would spread it better.
#[inline]
fn fingerprint_of(tag: &TokenTag) -> Fingerprint {
    Fingerprint::of(tag.index())
}

impl Slot {
    pub(super) fn cell(&self) -> &'static Cell {
        &self.state.cell
    }

    /// Returns what is remembered of the slot's row; `None` if nothing is, or if it is being replaced.
    pub(super) fn known(&self) -> Option<Known> {
        Known::of(self.state)
    }

    /// Returns how often what is remembered of this slot alone was doubted.
    pub(super) fn doubts(&self) -> u64 {
        self.state.doubts()
    }

    /// Doubts what is remembered: the next check reads the store.
    pub(super) fn doubt(&self) {
        self.state.doubt();
    }

    /// Notes that the slot's token was used.
    pub(super) fn mark_used(&self) {
        self.state.mark_used();
    }

    /// Returns whether the token was used since the last call.
    pub(super) fn take_used(&self) -> bool {
        self.state.take_used()
    }
}

impl Known {
    #[inline]
    fn of(state: &'static SlotState) -> Option<Self> {
        let seen = state.current.read()?;
        let known = Self { state, seen };
        (known.revision() != 0).then_some(known)
    }

    #[inline]
    pub(super) fn tag(&self) -> Option<TokenTag> {
        let [a, b, c, d, ..] = self.seen.words;
        TokenTag::from_words([a, b, c, d])
    }

    /// Returns the id of the live token; `None` if there is none.
    #[inline]
    pub(super) fn token_id(&self) -> Option<TokenId> {
        let [_, _, _, _, a, b, ..] = self.seen.words;
        TokenId::from_words([a, b])
    }

    /// Returns 0 where nothing is remembered.
    #[inline]
    pub(super) fn revision(&self) -> u64 {
        self.seen.words[6]
    }

    #[inline]
    pub(super) fn generation(&self) -> Option<Generation> {
        Generation::from_number(self.seen.words[7])
    }

    #[inline]
    fn doubts(&self) -> u64 {
        self.seen.words[8]
    }

    #[inline]
    pub(super) fn read_at(&self) -> Moment {
        Moment::from_start(Duration::from_nanos(self.seen.words[9]))
    }

    /// Returns whether this was remembered of that revision, with that token.
    ///
    /// A store that was put back counts revisions once more, so equal ones need not be of the same token.
    pub(super) fn is_of(&self, revision: Revision, generation: Generation, id: TokenId) -> bool {
        self.revision() == revision.number()
            && self.generation() == Some(generation)
            && self.token_id() == Some(id)
    }

    /// What is remembered is replaced by what is not less than this.
    fn age(&self) -> (u64, u64, u64) {
        let [.., revision, _, doubts, read_at] = self.seen.words;
        (revision, doubts, read_at)
    }

    /// Returns whether the token was presented here and its MAC was found right.
    #[inline]
    pub(super) fn is_proven(&self) -> bool {
        self.seen.is_marked()
    }

    /// Notes that the token's MAC is right; nothing if another one has taken its place.
    #[inline]
    pub(super) fn prove(&self) {
        self.state.current.mark(&self.seen);
    }

    /// Takes hold of the remembered token, unless it has ended, and notes its use.
    #[inline]
    pub(super) fn hold(&self) -> Option<Hold> {
        let hold = self.state.cell.hold(self.generation()?.number());
        hold.is_live().then(|| {
            self.state.mark_used();
            hold
        })
    }
}

impl Current {
    fn to_words(self) -> [u64; WORDS] {
        let tag = self.token.and_then(|token| token.tag);
        let [t0, t1, t2, t3] = tag.map_or([0; 4], TokenTag::to_words);
        let id = self.token.map(|token| token.id);
        let [i0, i1] = id.map_or([0; 2], TokenId::to_words);
        let (revision, doubts, read_at) = self.age();
        let generation = self.generation.number();
        [
            t0, t1, t2, t3, i0, i1, revision, generation, doubts, read_at,
        ]
    }

    fn age(&self) -> (u64, u64, u64) {
        let read_at = self.read_at.as_nanos();
        (self.revision.number(), self.doubts, read_at)
    }
}

impl CurrentToken {
    /// Remembers a token that nobody has presented yet; without its tag if that is not known.
    pub(super) fn unproven(tag: Option<TokenTag>, id: TokenId) -> Self {
        Self {
            tag,
            id,
            is_proven: false,
        }
    }

    /// Remembers a token whose MAC is right.
    pub(super) fn proven(tag: TokenTag, id: TokenId) -> Self {
        Self {
            is_proven: true,
            ..Self::unproven(Some(tag), id)
        }
    }
}

#[cfg(test)]
mod tests;
