//! Finds the number of a slot by a fingerprint of what it is looked for by, without a lock.
//!
//! Whoever finds a number compares what it stands for: a fingerprint is 32 bits, and two may be the same. An entry
//! never moves within a level, and a level is published whole, so that what was inserted before a look-up begins is
//! found by it.

use std::{
    fmt, iter,
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// The buckets of the first level, as a power of two.
const FIRST: u32 = 3;

/// As many levels as there are numbers of buckets that 32 bits can choose from.
const LEVELS: usize = 30 - FIRST as usize;

/// Numbers by fingerprint, in buckets of one cache line. Each entry has the choice of two.
///
/// Levels that were outgrown are kept, so that no reader needs a guard: together they take as much as the last one.
#[derive(Default)]
pub(super) struct Index {
    levels: [OnceLock<Box<[Bucket]>>; LEVELS],
    level: AtomicUsize,
    /// How many entries the level holds.
    held: AtomicUsize,
    /// Entries whose buckets are full though the level is not: more of one fingerprint than fit. Each part is twice
    /// as large as the one before.
    aside: [OnceLock<Box<[Bucket]>>; LEVELS],
}

/// What something is looked for by, of which any 32 bits are as good as any others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u32);

/// Each entry is a fingerprint above a number plus one; 0 is none.
#[derive(Default)]
#[repr(align(64))]
struct Bucket([AtomicU64; 8]);

impl Index {
    /// Offers each number that may be the one to `look`, until that finds something.
    #[inline]
    pub(super) fn find<T>(
        &self,
        fingerprint: Fingerprint,
        mut look: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        let buckets = self.levels[self.level.load(Ordering::Acquire)].get()?;
        for bucket in fingerprint.choose(buckets) {
            if let Some(found) = bucket.find(fingerprint, &mut look) {
                return Some(found);
            }
        }
        self.aside[0].get()?;
        self.find_aside(fingerprint, look)
    }

    /// Apart, so that it costs no request anything.
    #[cold]
    fn find_aside<T>(
        &self,
        fingerprint: Fingerprint,
        mut look: impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        self.aside()
            .find_map(|bucket| bucket.find(fingerprint, &mut look))
    }

    /// Inserts a number. There is one writer at a time: the caller sees to it.
    pub(super) fn insert(&self, fingerprint: Fingerprint, number: u32) {
        let entry = fingerprint.entry(number);
        let level = self.level.load(Ordering::Relaxed);
        let buckets = self.levels[level].get_or_init(|| empty(FIRST as usize + level));
        if self.put(buckets, entry) {
            return;
        }
        // Where there is room enough, a larger level would have none for it either.
        let is_full = 2 * self.held.load(Ordering::Relaxed) >= 8 * buckets.len();
        let next = is_full.then(|| self.grow(level + 1, buckets)).flatten();
        if !next.is_some_and(|next| self.put(next, entry)) {
            self.put_aside(entry);
        }
    }

    /// Takes a number out that was inserted with this fingerprint. There is one writer at a time.
    pub(super) fn remove(&self, fingerprint: Fingerprint, number: u32) {
        let Some(buckets) = self.levels[self.level.load(Ordering::Relaxed)].get() else {
            return;
        };
        let entry = fingerprint.entry(number);
        if take_out(fingerprint.choose(buckets), entry) {
            self.add_held(usize::MAX);
        } else {
            take_out(self.aside(), entry);
        }
    }

    /// Publishes a level with all that `buckets` hold, and returns it; `None` if it would be too large.
    fn grow(&self, level: usize, buckets: &[Bucket]) -> Option<&[Bucket]> {
        let next = self.levels.get(level)?;
        let next = next.get_or_init(|| empty(FIRST as usize + level));
        self.held.store(0, Ordering::Relaxed);
        // All of it before the level is: nobody may miss what was there.
        for entry in entries_of(buckets) {
            if !self.put(next, entry) {
                self.put_aside(entry);
            }
        }
        self.level.store(level, Ordering::Release);
        Some(next)
    }

    /// Puts an entry into the emptier of its buckets; returns whether there was room.
    fn put(&self, buckets: &[Bucket], entry: u64) -> bool {
        let choices = Fingerprint::of(entry).choose(buckets);
        let free = |bucket: &&Bucket| bucket.free().count();
        // The last of those that are equal would be the second choice, which is looked at second.
        let emptier = choices.min_by_key(|bucket| std::cmp::Reverse(free(bucket)));
        let free = emptier.and_then(|bucket| bucket.free().next());
        if let Some(free) = free {
            free.store(entry, Ordering::Release);
            self.add_held(1);
        }
        free.is_some()
    }

    fn put_aside(&self, entry: u64) {
        let parts = self.aside.iter().enumerate();
        let buckets = parts.flat_map(|(part, buckets)| buckets.get_or_init(|| empty(part)));
        let free = buckets.flat_map(Bucket::free).next();
        free.expect("2^32 slots fill no memory")
            .store(entry, Ordering::Release);
    }

    fn aside(&self) -> impl Iterator<Item = &Bucket> {
        self.aside.iter().map_while(OnceLock::get).flatten()
    }

    fn add_held(&self, count: usize) {
        let held = self.held.load(Ordering::Relaxed).wrapping_add(count);
        self.held.store(held, Ordering::Relaxed);
    }
}

impl Fingerprint {
    /// Takes the upper half of a hash.
    #[inline]
    pub(super) fn of(hash: u64) -> Self {
        Self((hash >> 32) as u32)
    }

    fn entry(self, number: u32) -> u64 {
        u64::from(self.0) << 32 | (u64::from(number) + 1)
    }

    /// Returns the two buckets that an entry may be in.
    #[inline]
    fn choose(self, buckets: &[Bucket]) -> impl Iterator<Item = &Bucket> {
        let mask = buckets.len() - 1;
        let first = self.0 as usize & mask;
        // 2^64 by the golden ratio: each bit of the product's upper half depends on all below.
        let mixed = u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        // Never 0, so that the second is another one.
        let distance = (mixed as usize & mask).max(1);
        [first, first ^ distance]
            .into_iter()
            .filter_map(|at| buckets.get(at))
    }
}

/// Makes 2^`exponent` buckets.
fn empty(exponent: usize) -> Box<[Bucket]> {
    let buckets = 1_usize << exponent;
    iter::repeat_with(Bucket::default).take(buckets).collect()
}

fn entries_of(buckets: &[Bucket]) -> impl Iterator<Item = u64> {
    let entries = buckets.iter().flat_map(|bucket| &bucket.0);
    entries
        .map(|entry| entry.load(Ordering::Relaxed))
        .filter(|entry| *entry != 0)
}

/// Takes an entry out of wherever it is in these buckets; returns whether it was there.
fn take_out<'a>(buckets: impl Iterator<Item = &'a Bucket>, entry: u64) -> bool {
    let mut entries = buckets.flat_map(|bucket| &bucket.0);
    let found = entries.find(|found| found.load(Ordering::Relaxed) == entry);
    if let Some(found) = found {
        found.store(0, Ordering::Release);
    }
    found.is_some()
}

impl Bucket {
    /// Offers each number of this fingerprint to `look`, until that finds something.
    #[inline(always)]
    fn find<T>(
        &self,
        fingerprint: Fingerprint,
        look: &mut impl FnMut(u32) -> Option<T>,
    ) -> Option<T> {
        for entry in &self.0 {
            let entry = entry.load(Ordering::Acquire);
            if (entry >> 32) as u32 == fingerprint.0
                && let Some(number) = (entry as u32).checked_sub(1)
                && let Some(found) = look(number)
            {
                return Some(found);
            }
        }
        None
    }

    fn free(&self) -> impl Iterator<Item = &AtomicU64> {
        self.0
            .iter()
            .filter(|entry| entry.load(Ordering::Relaxed) == 0)
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The n-th of many fingerprints, spread as those of tags are.
    fn fingerprint(n: u32) -> Fingerprint {
        let mixed = (u64::from(n) + 1).wrapping_mul(0xd6e8_feb8_6659_fd93);
        Fingerprint::of((mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    fn found(index: &Index, fingerprint: Fingerprint) -> Vec<u32> {
        let mut found = Vec::new();
        index.find(fingerprint, |number| {
            found.push(number);
            None::<()>
        });
        found
    }

    #[test]
    fn finds_what_was_inserted_however_much_that_is() {
        let index = Index::default();
        assert!(found(&index, fingerprint(0)).is_empty());
        for n in 0..200_000 {
            index.insert(fingerprint(n), n);
        }
        for n in 0..200_000 {
            assert!(found(&index, fingerprint(n)).contains(&n), "{n}");
        }
        let strangers = (200_000..300_000).map(|n| found(&index, fingerprint(n)).len());
        assert!(strangers.sum::<usize>() < 100);
    }

    #[test]
    fn grows_when_it_is_two_thirds_full_and_not_long_before() {
        let index = Index::default();
        let mut held = Vec::new();
        for n in 0..1_000_000 {
            let before = index.level.load(Ordering::Relaxed);
            index.insert(fingerprint(n), n);
            if index.level.load(Ordering::Relaxed) != before && n > 1000 {
                held.push(f64::from(n) / (8 << (FIRST as usize + before)) as f64);
            }
        }
        assert!(
            held.len() > 5 && held.iter().all(|held| *held > 0.66),
            "{held:?}"
        );
    }

    #[test]
    fn what_was_removed_is_found_no_more_and_leaves_room() {
        let index = Index::default();
        for n in 0..100_000 {
            index.insert(fingerprint(n), 7);
            index.remove(fingerprint(n), 8);
            assert_eq!(found(&index, fingerprint(n)), [7]);
            index.remove(fingerprint(n), 7);
            assert!(found(&index, fingerprint(n)).is_empty());
        }
        assert_eq!(index.level.load(Ordering::Relaxed), 0);
    }

    /// No hash of ours does that, but what is not found is a slot that nobody can rotate.
    #[test]
    fn numbers_of_one_fingerprint_are_all_offered_and_take_no_memory_for_it() {
        let index = Index::default();
        for number in 0..1000 {
            index.insert(Fingerprint(0), number);
        }
        // And when all of it moves to other levels.
        for n in 1000..5000 {
            index.insert(fingerprint(n), n);
        }
        let level = index.level.load(Ordering::Relaxed);
        assert!((6..=8).contains(&level), "{level}");
        let offered = || {
            let mut offered = found(&index, Fingerprint(0));
            offered.sort_unstable();
            offered
        };
        assert_eq!(offered(), Vec::from_iter(0..1000));
        (0..990).for_each(|number| index.remove(Fingerprint(0), number));
        assert_eq!(offered(), Vec::from_iter(990..1000));
        for n in 1000..5000 {
            assert!(found(&index, fingerprint(n)).contains(&n), "{n}");
        }
    }
}
