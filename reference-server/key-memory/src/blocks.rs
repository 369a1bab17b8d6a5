//! Which blocks of a vault are in use: a bit for each, kept beside the vault and not in it.
//!
//! Nothing here touches memory, so that what is counted on is safe code.

use std::{alloc::Layout, ops::Range};

/// The bytes of a block: every allocation takes whole ones.
pub(crate) const BLOCK: usize = 64;

/// The blocks of a vault.
pub(crate) const COUNT: usize = 4096;

const BITS: usize = u64::BITS as usize;

/// Which blocks are taken.
#[derive(Debug)]
pub(crate) struct Blocks([u64; COUNT / BITS]);

/// Returns how many blocks an allocation takes.
pub(crate) fn needed(layout: Layout) -> usize {
    layout.size().div_ceil(BLOCK).max(1)
}

impl Blocks {
    pub(crate) const fn new() -> Self {
        Self([0; COUNT / BITS])
    }

    /// Takes the first free blocks that follow each other where `layout` may lie; `None` if there are none.
    ///
    /// The vault begins at a page, so an alignment beyond a page's is none of it.
    pub(crate) fn take(&mut self, layout: Layout) -> Option<usize> {
        if layout.align() > PAGE {
            return None;
        }
        let needed = needed(layout);
        let step = layout.align().div_ceil(BLOCK);
        let mut first = 0;
        while first + needed <= COUNT {
            let wanted = first..first + needed;
            match wanted.clone().rev().find(|block| self.is_taken(*block)) {
                None => {
                    self.set(wanted, true);
                    return Some(first);
                }
                Some(taken) => first = (taken + 1).next_multiple_of(step),
            }
        }
        None
    }

    /// Gives back blocks that [`take`](Self::take) gave.
    pub(crate) fn give_back(&mut self, blocks: Range<usize>) {
        self.set(blocks, false);
    }

    fn is_taken(&self, block: usize) -> bool {
        self.0[block / BITS] >> (block % BITS) & 1 == 1
    }

    fn set(&mut self, blocks: Range<usize>, is_taken: bool) {
        for block in blocks {
            let bit = 1 << (block % BITS);
            if is_taken {
                self.0[block / BITS] |= bit;
            } else {
                self.0[block / BITS] &= !bit;
            }
        }
    }
}

/// The least that a page is anywhere; what `mmap` gives begins at one.
pub(crate) const PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    #[cfg(not(miri))]
    use proptest::prelude::*;

    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn what_is_given_back_is_given_again() {
        let mut blocks = Blocks::new();
        let all = layout(BLOCK * COUNT, 1);
        assert_eq!(blocks.take(all), Some(0));
        assert_eq!(blocks.take(layout(1, 1)), None);
        blocks.give_back(7..9);
        assert_eq!(blocks.take(layout(BLOCK * 2 + 1, 1)), None);
        assert_eq!(blocks.take(layout(BLOCK * 2, 1)), Some(7));
        blocks.give_back(0..COUNT);
        assert_eq!(blocks.take(all), Some(0));
    }

    #[test]
    fn what_is_too_large_or_aligned_beyond_a_page_is_refused() {
        let mut blocks = Blocks::new();
        for refused in [
            layout(BLOCK * COUNT + 1, 1),
            layout(isize::MAX as usize, 1),
            layout(1, PAGE * 2),
        ] {
            assert_eq!(blocks.take(refused), None, "{refused:?}");
        }
        assert_eq!(blocks.take(layout(1, PAGE)), Some(0));
        assert_eq!(blocks.take(layout(1, PAGE)), Some(PAGE / BLOCK));
    }

    // Safe code, of which Miri has nothing to say.
    #[cfg(not(miri))]
    proptest! {
        /// Against the plainest model: no two allocations share a byte, and each is aligned.
        #[test]
        fn no_two_share_a_block(
            steps in prop::collection::vec((0_usize..9000, 0_u32..13, any::<bool>()), 1..200),
        ) {
            let mut blocks = Blocks::new();
            let mut held: Vec<Range<usize>> = Vec::new();
            for (size, align, gives_back) in steps {
                if gives_back && !held.is_empty() {
                    let range = held.swap_remove(size % held.len());
                    blocks.give_back(range);
                    continue;
                }
                let layout = layout(size, 1 << align);
                let Some(first) = blocks.take(layout) else { continue };
                let range = first..first + needed(layout);
                prop_assert!(range.end <= COUNT && range.len() * BLOCK >= size);
                prop_assert_eq!(first * BLOCK % layout.align(), 0);
                let is_apart = |other: &Range<usize>| range.end <= other.start || other.end <= range.start;
                prop_assert!(held.iter().all(is_apart));
                held.push(range);
            }
        }
    }
}
