//! A vault: pages, and which of their blocks are taken.
//!
//! Invariant: every block that is not taken is all zeros. The kernel gives the pages so, and who gives a
//! block back wipes it first.

use std::{
    alloc::Layout,
    ptr::{NonNull, null_mut},
    slice,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicPtr, AtomicUsize, Ordering},
    },
};

use zeroize::Zeroize as _;

use crate::{
    blocks::{BLOCK, Blocks, COUNT, needed},
    pages::{self, Protection},
};

const LENGTH: usize = BLOCK * COUNT;

/// Pages for keys. Never unmapped.
#[derive(Debug)]
pub(crate) struct Vault {
    /// Where the pages begin; null until the vault is open, and never another address from then on.
    pages: AtomicPtr<u8>,
    /// Locked for a moment only; neither taking it nor waiting for it allocates.
    blocks: Mutex<Blocks>,
    protection: OnceLock<Protection>,
    spilled: AtomicUsize,
}

impl Vault {
    pub(crate) const fn new() -> Self {
        Self {
            pages: AtomicPtr::new(null_mut()),
            blocks: Mutex::new(Blocks::new()),
            protection: OnceLock::new(),
            spilled: AtomicUsize::new(0),
        }
    }

    pub(crate) fn open(&self) -> Protection {
        *self.protection.get_or_init(|| match pages::map(LENGTH) {
            None => Protection::Nowhere,
            Some((pages, protection)) => {
                self.pages.store(pages.as_ptr(), Ordering::Release);
                protection
            }
        })
    }

    /// Whether `pointer` is to something in the vault.
    pub(crate) fn holds(&self, pointer: *mut u8) -> bool {
        let pages = self.pages.load(Ordering::Acquire);
        !pages.is_null() && pointer.addr().wrapping_sub(pages.addr()) < LENGTH
    }

    /// Returns memory for `layout`, all zeros; `None`, and counted, if there is none.
    pub(crate) fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        let taken = self.try_take(layout);
        if taken.is_none() {
            self.spilled.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    fn try_take(&self, layout: Layout) -> Option<NonNull<u8>> {
        let pages = NonNull::new(self.pages.load(Ordering::Acquire))?;
        let first = self.blocks().take(layout)?;
        // SAFETY: The pages have COUNT blocks, and `first` is one of them: the offset is less than LENGTH.
        Some(unsafe { pages.add(first * BLOCK) })
    }

    /// Wipes what [`take`](Self::take) gave for `layout`, and gives its blocks back.
    ///
    /// # Safety
    /// `pointer` came from `take` of this vault for `layout`, was not given back since, and nobody uses what it
    /// points to any longer.
    pub(crate) unsafe fn give_back(&self, pointer: *mut u8, layout: Layout) {
        let pages = self.pages.load(Ordering::Acquire);
        let first = (pointer.addr() - pages.addr()) / BLOCK;
        let count = needed(layout);
        // The caller's pointer may be used for what it asked for and no more, and while a box is being dropped
        // nobody else's may be used for that: so each part is wiped through the pointer that it belongs to.
        // Volatile, so that the compiler keeps it although nobody reads it.
        // SAFETY: The caller is done with what it asked for, which is initialized, since the pages are. The slice
        // ends before the blocks are given back.
        unsafe { slice::from_raw_parts_mut(pointer, layout.size()) }.zeroize();
        // SAFETY: The pages have COUNT blocks, of which these are some: the offset is no more than LENGTH.
        let rest = unsafe { pages.add(first * BLOCK + layout.size()) };
        // SAFETY: What lies behind that, up to the end of the last block, is nobody's until the blocks are given
        // back, is in the pages, and is initialized. The slice ends before that.
        unsafe { slice::from_raw_parts_mut(rest, count * BLOCK - layout.size()) }.zeroize();
        self.blocks().give_back(first..first + count);
    }

    pub(crate) fn spilled(&self) -> usize {
        self.spilled.load(Ordering::Relaxed)
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        // Nothing panics while it is locked; and an allocator must not.
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static OPEN: Vault = Vault::new();

    #[test]
    fn what_is_given_back_is_zero_up_to_the_end_of_its_blocks() {
        OPEN.open();
        let layout = Layout::new::<[u8; 100]>();
        let taken = OPEN.take(layout).unwrap();
        assert!(OPEN.holds(taken.as_ptr()));
        // SAFETY: All of two blocks is this test's, which is more than it asked for.
        unsafe { taken.write_bytes(0xa5, 2 * BLOCK) };
        // SAFETY: It was taken for this layout and is given back once.
        unsafe { OPEN.give_back(taken.as_ptr(), layout) };
        // SAFETY: The pages stay mapped, and nobody but this test takes of this vault.
        let bytes = unsafe { NonNull::slice_from_raw_parts(taken, 2 * BLOCK).as_ref() };
        assert!(bytes.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_vault_that_is_not_open_holds_and_gives_nothing() {
        let closed = Vault::new();
        let mut byte = 0;
        assert!(!closed.holds(&raw mut byte) && !closed.holds(null_mut()));
        assert_eq!(closed.take(Layout::new::<u8>()), None);
        assert_eq!(closed.spilled(), 1);
    }

    #[test]
    fn what_lies_beside_the_vault_is_not_in_it() {
        static BESIDE: Vault = Vault::new();
        BESIDE.open();
        let first = BESIDE.take(Layout::new::<u8>()).unwrap().as_ptr();
        assert!(BESIDE.holds(first.wrapping_add(LENGTH - 1)));
        assert!(!BESIDE.holds(first.wrapping_add(LENGTH)));
        assert!(!BESIDE.holds(first.wrapping_sub(1)));
        assert!(!BESIDE.holds(null_mut()));
    }
}
