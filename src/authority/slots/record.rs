//! A few words that are replaced together and read without a lock: a sequence lock of plain atomics.
//!
//! A read that comes at the wrong moment returns nothing; it never mixes two writes. This file uses nothing but
//! `crate::sync` and the standard library: the loom model includes it as it is.

use std::{array, fmt};

use crate::sync::{AtomicU64, Ordering, fence};

/// Some words, and a mark on them that any reader may set and the next write takes away.
pub(crate) struct Record<const N: usize> {
    /// Counts the writes in steps of [`STEP`]; the bits below tell of the mark and of a write that is under way.
    sequence: AtomicU64,
    words: [AtomicU64; N],
}

/// What one write left in a [`Record`].
#[derive(Clone, Copy)]
pub(crate) struct Seen<const N: usize> {
    sequence: u64,
    pub(crate) words: [u64; N],
}

const WRITING: u64 = 1;
const MARKED: u64 = 2;
const STEP: u64 = 4;

impl<const N: usize> Record<N> {
    /// Makes a record of zeros.
    pub(crate) fn new() -> Self {
        Self {
            sequence: AtomicU64::new(0),
            words: array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Reads all words as one write left them; `None` if another one is under way.
    #[inline]
    pub(crate) fn read(&self) -> Option<Seen<N>> {
        let sequence = self.sequence.load(Ordering::Acquire);
        if sequence & WRITING != 0 {
            return None;
        }
        let words = array::from_fn(|word| self.words[word].load(Ordering::Relaxed));
        // Whoever has read a word of a later write finds the sequence of that write, or a later one, below.
        fence(Ordering::Acquire);
        let after = self.sequence.load(Ordering::Relaxed);
        ((sequence ^ after) & !MARKED == 0).then_some(Seen { sequence, words })
    }

    /// Replaces all words and the mark. There is one writer at a time: the caller sees to it.
    pub(crate) fn write(&self, words: [u64; N], is_marked: bool) {
        // From here on nobody sets a mark: whoever saw the words before expects another sequence.
        let sequence = self.sequence.fetch_or(WRITING, Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in self.words.iter().zip(words) {
            word.store(value, Ordering::Relaxed);
        }
        let next = (sequence & !(STEP - 1)).wrapping_add(STEP);
        let mark = if is_marked { MARKED } else { 0 };
        self.sequence.store(next | mark, Ordering::Release);
    }

    /// Marks the words that were seen, unless they were replaced since.
    #[inline]
    pub(crate) fn mark(&self, seen: &Seen<N>) {
        // Asked first: each request comes by here, and one alone has to write.
        if !seen.is_marked() {
            let marked = seen.sequence | MARKED;
            let _ = self.sequence.compare_exchange(
                seen.sequence,
                marked,
                Ordering::Release,
                Ordering::Relaxed,
            );
        }
    }
}

impl<const N: usize> Seen<N> {
    /// Returns whether the words were marked when they were read.
    #[inline]
    pub(crate) fn is_marked(&self) -> bool {
        self.sequence & MARKED != 0
    }
}

impl<const N: usize> fmt::Debug for Record<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_written_last() {
        let record = Record::<2>::new();
        assert_eq!(record.read().unwrap().words, [0, 0]);
        record.write([1, 2], false);
        record.write([3, 4], true);
        let seen = record.read().unwrap();
        assert_eq!((seen.words, seen.is_marked()), ([3, 4], true));
    }

    #[test]
    fn a_mark_is_of_the_words_that_were_seen() {
        let record = Record::<1>::new();
        record.write([1], false);
        let first = record.read().unwrap();
        record.mark(&first);
        assert!(!first.is_marked() && record.read().unwrap().is_marked());
        record.write([2], false);
        record.mark(&first);
        assert!(!record.read().unwrap().is_marked());
    }

    #[test]
    fn nothing_is_read_while_a_write_is_under_way() {
        let record = Record::<1>::new();
        record.sequence.store(STEP | WRITING, Ordering::Relaxed);
        assert!(record.read().is_none());
    }
}
