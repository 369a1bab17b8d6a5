//! The slots of a table by their numbers: what changes in place, and beside it the key, which never does.
//!
//! A slot comes with 255 neighbours. What changes is never freed, since a [`Hold`](super::super::liveness::Hold)
//! points into it; the keys go with the table.

use std::{
    array, iter,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    super::{
        liveness::Cell,
        pool::{Pool, Reuse},
    },
    WORDS,
    record::Record,
};
use crate::id::SlotKey;

/// How many slots are made at once.
const CHUNK: usize = 256;

/// How many chunks the first shelf holds; each further one holds twice as many as the one before.
const FIRST: usize = 16;

/// Slots by number.
#[derive(Debug, Default)]
pub(super) struct Shelves {
    /// Enough for 2^32 slots.
    shelves: [OnceLock<Box<[OnceLock<Chunk>]>>; 21],
}

#[derive(Debug)]
struct Chunk {
    states: &'static States,
    keys: Box<[OnceLock<SlotKey>]>,
}

/// The part of a slot that changes in place: two cache lines side by side.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct SlotState {
    pub(super) cell: Cell,
    /// How often this slot alone was doubted, above a bit that tells whether its token was used since that was taken.
    /// Together, since there is room for one word.
    doubts_and_use: AtomicU64,
    pub(super) current: Record<WORDS>,
}

const USED: u64 = 1;
const DOUBT: u64 = 2;

#[derive(Debug)]
struct States([SlotState; CHUNK]);

static STATES: Pool<States> = Pool::new();

impl Shelves {
    /// Returns the slot of this number: its key, and what changes.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<(&SlotKey, &'static SlotState)> {
        let (shelf, chunk, slot) = place(number);
        let chunk = self.shelves.get(shelf)?.get()?.get(chunk)?.get()?;
        Some((chunk.keys.get(slot)?.get()?, chunk.states.0.get(slot)?))
    }

    /// Makes the slot of this number, the one after the last. There is one writer at a time: the caller sees to it.
    pub(super) fn make(&self, number: u32, key: SlotKey) -> &'static SlotState {
        let (shelf, chunk, slot) = place(number);
        let chunks = self.shelves[shelf].get_or_init(|| empty(FIRST << shelf));
        let chunk = chunks[chunk].get_or_init(Chunk::take);
        chunk.keys[slot].get_or_init(|| key);
        &chunk.states.0[slot]
    }
}

impl Drop for Shelves {
    fn drop(&mut self) {
        let chunks = self.shelves.iter().filter_map(OnceLock::get).flatten();
        for chunk in chunks.filter_map(OnceLock::get) {
            // Now and not when they are used again: nothing of a token outlives whoever remembers it.
            for state in &chunk.states.0 {
                state.current.write([0; WORDS], false);
            }
            STATES.give_back(chunk.states);
        }
    }
}

impl Chunk {
    fn take() -> Self {
        Self {
            states: STATES.take(),
            keys: empty(CHUNK),
        }
    }
}

impl SlotState {
    /// Returns how often what is remembered of this slot alone was doubted.
    pub(super) fn doubts(&self) -> u64 {
        self.doubts_and_use.load(Ordering::SeqCst) / DOUBT
    }

    pub(super) fn doubt(&self) {
        self.doubts_and_use.fetch_add(DOUBT, Ordering::SeqCst);
    }

    #[inline]
    pub(super) fn mark_used(&self) {
        // Loaded first, so that the cache line is written once per flush and not once per request.
        if self.doubts_and_use.load(Ordering::Relaxed) & USED == 0 {
            self.doubts_and_use.fetch_or(USED, Ordering::Relaxed);
        }
    }

    pub(super) fn take_used(&self) -> bool {
        self.doubts_and_use.fetch_and(!USED, Ordering::Relaxed) & USED != 0
    }
}

impl Default for States {
    fn default() -> Self {
        Self(array::from_fn(|_| SlotState {
            cell: Cell::new(),
            doubts_and_use: AtomicU64::new(0),
            current: Record::new(),
        }))
    }
}

impl Reuse for States {
    // As many slots as the cells of sessions that lie idle.
    const QUARANTINE: usize = 4096 / CHUNK;

    fn is_watched(&self) -> bool {
        self.0.iter().any(|state| state.cell.is_watched())
    }

    fn begin_new_life(&self) {
        for state in &self.0 {
            state.cell.begin_new_life();
            state.doubts_and_use.store(0, Ordering::SeqCst);
        }
    }
}

/// Returns the shelf of a slot, its chunk there, and its place in that.
#[inline]
fn place(number: u32) -> (usize, usize, usize) {
    let number = number as usize;
    let chunk = number / CHUNK + FIRST;
    let shelf = (chunk / FIRST).ilog2() as usize;
    (shelf, chunk - (FIRST << shelf), number % CHUNK)
}

fn empty<T>(places: usize) -> Box<[OnceLock<T>]> {
    iter::repeat_with(OnceLock::new).take(places).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cache_lines_hold_what_changes() {
        assert_eq!(size_of::<SlotState>(), 128);
    }

    #[test]
    fn doubts_and_use_share_a_word_and_nothing_else() {
        let States(states) = States::default();
        let state = &states[0];
        assert!(!state.take_used() && state.doubts() == 0);
        state.mark_used();
        state.doubt();
        state.mark_used();
        state.doubt();
        assert_eq!(state.doubts(), 2);
        assert!(state.take_used() && !state.take_used());
        assert_eq!(state.doubts(), 2);
    }

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let mut next = (0, 0, 0);
        for number in 0..1_000_000 {
            assert_eq!(place(number), next, "{number}");
            next.2 += 1;
            if next.2 == CHUNK {
                next = (next.0, next.1 + 1, 0);
            }
            if next.1 == FIRST << next.0 {
                next = (next.0 + 1, 0, 0);
            }
        }
        assert!(place(u32::MAX).0 < Shelves::default().shelves.len());
    }
}
