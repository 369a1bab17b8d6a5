//! [`KeyMemory`]: an allocator that puts what is made within `hold` into the vault.

use std::{
    alloc::{GlobalAlloc, Layout},
    ptr,
};

use crate::{VAULT, is_wanted, vault::Vault};

/// An allocator for what is made within [`hold`](crate::hold), in front of one for everything else.
///
/// What lies in the vault stays there when it grows, whoever lets it grow, and is wiped when it is freed.
#[derive(Debug)]
pub struct KeyMemory<A> {
    vault: &'static Vault,
    otherwise: A,
}

impl<A> KeyMemory<A> {
    /// Puts the vault of the process in front of `otherwise`.
    pub const fn new(otherwise: A) -> Self {
        Self {
            vault: &VAULT,
            otherwise,
        }
    }
}

impl<A: GlobalAlloc> KeyMemory<A> {
    /// # Safety
    /// As of `GlobalAlloc::alloc`: the layout has a size.
    unsafe fn alloc_in_vault(&self, layout: Layout) -> *mut u8 {
        match self.vault.take(layout) {
            Some(taken) => taken.as_ptr(),
            // SAFETY: The caller's promise is what this asks for. Zeroed as what the vault gives.
            None => unsafe { self.otherwise.alloc_zeroed(layout) },
        }
    }
}

// SAFETY: Every block is given by the vault or by `otherwise`, and goes back to where it came from, which its
// address tells: the pages of the vault are mapped once and for good, so no block of another allocator is ever
// among them. What the vault gives is its caller's alone, as large and aligned as asked for (`Blocks::take`,
// `pages` begin at a page). Nothing here panics or allocates.
unsafe impl<A: GlobalAlloc> GlobalAlloc for KeyMemory<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_wanted() {
            // SAFETY: The caller's promise is what this asks for.
            return unsafe { self.alloc_in_vault(layout) };
        }
        // SAFETY: The caller's promise is what this asks for.
        unsafe { self.otherwise.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_wanted() {
            // SAFETY: The caller's promise is what this asks for; what it gives is zero.
            return unsafe { self.alloc_in_vault(layout) };
        }
        // SAFETY: The caller's promise is what this asks for.
        unsafe { self.otherwise.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if self.vault.holds(pointer) {
            // SAFETY: It lies in the vault, so the vault gave it, and the caller says for which layout and that
            // it is done with it.
            return unsafe { self.vault.give_back(pointer, layout) };
        }
        // SAFETY: It does not lie in the vault, so `otherwise` gave it; the rest is the caller's promise.
        unsafe { self.otherwise.dealloc(pointer, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !is_wanted() && !self.vault.holds(pointer) {
            // SAFETY: It does not lie in the vault, so `otherwise` gave it; the rest is the caller's promise.
            return unsafe { self.otherwise.realloc(pointer, layout, size) };
        }
        // SAFETY: The caller promises that the size, rounded up to the alignment, is no more than
        // `isize::MAX`; the alignment is one that a layout has already.
        let new_layout = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: The caller promises that the size is not zero.
        let new = unsafe { self.alloc_in_vault(new_layout) };
        if !new.is_null() {
            // SAFETY: Both are at least as long, and apart: the old block is not given back yet.
            unsafe { ptr::copy_nonoverlapping(pointer, new, layout.size().min(size)) };
            // SAFETY: It is the caller's, who is done with it, as its content has moved.
            unsafe { self.dealloc(pointer, layout) };
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use std::{
        alloc::System,
        slice,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use zeroizing_alloc::ZeroAlloc;

    use super::*;
    use crate::hold;

    /// Looks at what is freed, which has to be wiped by then.
    struct Watched {
        freed: AtomicUsize,
        unwiped: AtomicUsize,
    }

    // SAFETY: All of it is the system's allocator, which is asked for the same.
    unsafe impl GlobalAlloc for &Watched {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: The caller's promise. Zeroed, so that it may be looked at, whatever was written to it.
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: The block is initialized since it was made, and nobody else uses it.
            let bytes = unsafe { slice::from_raw_parts(pointer, layout.size()) };
            let is_wiped = bytes.iter().all(|byte| *byte == 0);
            self.unwiped
                .fetch_add(usize::from(!is_wiped), Ordering::Relaxed);
            self.freed.fetch_add(1, Ordering::Relaxed);
            // SAFETY: The caller's promise.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    const fn watched() -> Watched {
        Watched {
            freed: AtomicUsize::new(0),
            unwiped: AtomicUsize::new(0),
        }
    }

    /// One block, through the calls that a vector makes.
    struct Block<'a, A: GlobalAlloc> {
        allocator: &'a A,
        pointer: *mut u8,
        layout: Layout,
    }

    impl<'a, A: GlobalAlloc> Block<'a, A> {
        fn new(allocator: &'a A, size: usize, align: usize) -> Self {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: No test asks for nothing.
            let pointer = unsafe { allocator.alloc(layout) };
            assert!(!pointer.is_null() && pointer.addr() % align == 0);
            Self {
                allocator,
                pointer,
                layout,
            }
        }

        fn resize(&mut self, size: usize) {
            // SAFETY: The block came from this allocator with this layout, and no test asks for nothing.
            self.pointer = unsafe { self.allocator.realloc(self.pointer, self.layout, size) };
            assert!(!self.pointer.is_null());
            self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
        }

        fn fill(&mut self) {
            // SAFETY: The block is as long, and this value's alone.
            unsafe { self.pointer.write_bytes(0xa5, self.layout.size()) };
        }

        /// Whether the first `count` bytes are as they were filled.
        fn is_filled(&self, count: usize) -> bool {
            // SAFETY: Whoever asks has filled as many.
            let bytes = unsafe { slice::from_raw_parts(self.pointer, count) };
            bytes.iter().all(|byte| *byte == 0xa5)
        }
    }

    impl<A: GlobalAlloc> Drop for Block<'_, A> {
        fn drop(&mut self) {
            // SAFETY: The block came from this allocator with this layout, and goes back once.
            unsafe { self.allocator.dealloc(self.pointer, self.layout) };
        }
    }

    fn over<A: GlobalAlloc>(vault: &'static Vault, otherwise: A) -> KeyMemory<A> {
        vault.open();
        KeyMemory { vault, otherwise }
    }

    #[test]
    fn what_is_made_within_lies_in_the_vault_and_stays_there_when_it_grows() {
        static HERE: Vault = Vault::new();
        let allocator = over(&HERE, System);
        let outside = Block::new(&allocator, 32, 8);
        let mut key = hold(|| Block::new(&allocator, 32, 8));
        key.fill();
        assert!(!HERE.holds(outside.pointer) && HERE.holds(key.pointer));
        for size in [48, 500, 40] {
            key.resize(size);
            assert!(HERE.holds(key.pointer) && key.is_filled(32), "{size}");
        }
        let mut moved = outside;
        moved.fill();
        moved.resize(64);
        assert!(!HERE.holds(moved.pointer) && moved.is_filled(32));
        hold(|| moved.resize(96));
        assert!(HERE.holds(moved.pointer) && moved.is_filled(32));
        assert_eq!(HERE.spilled(), 0);
    }

    #[test]
    fn what_does_not_fit_lies_elsewhere_and_is_counted() {
        static SMALL: Vault = Vault::new();
        let allocator = over(&SMALL, System);
        let (mut large, fits) = hold(|| {
            let large = Block::new(&allocator, 300 * 1024, 1);
            (large, Block::new(&allocator, 200 * 1024, 4096))
        });
        assert!(!SMALL.holds(large.pointer) && SMALL.holds(fits.pointer));
        assert_eq!(SMALL.spilled(), 1);
        large.fill();
        large.resize(301 * 1024);
        assert!(large.is_filled(300 * 1024));
    }

    /// With the allocator behind it that the server has: each block that either of them frees was wiped.
    #[test]
    fn what_is_freed_is_wiped_also_when_it_moves() {
        static HERE: Vault = Vault::new();
        static WATCHED: Watched = watched();
        let allocator = over(&HERE, ZeroAlloc(&WATCHED));
        for size in [1, 7, 8, 63, 64, 65, 1000, 4096, 70_000] {
            let mut block = Block::new(&allocator, size, 1);
            block.fill();
            block.resize(size * 2);
            assert!(block.is_filled(size));
            block.fill();
            block.resize(size.div_ceil(2));
            assert!(block.is_filled(size.div_ceil(2)));
            hold(|| block.resize(size));
            assert!(HERE.holds(block.pointer));
        }
        let counts = [&WATCHED.freed, &WATCHED.unwiped].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [27, 0]);
    }

    /// The control of the test above.
    #[test]
    fn without_a_wiping_allocator_behind_it_what_is_freed_holds_what_it_held() {
        static HERE: Vault = Vault::new();
        static WATCHED: Watched = watched();
        let allocator = over(&HERE, &WATCHED);
        Block::new(&allocator, 1000, 1).fill();
        let counts = [&WATCHED.freed, &WATCHED.unwiped].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [1, 1]);
    }

    #[test]
    fn threads_share_the_vault() {
        static SHARED: Vault = Vault::new();
        let allocator = over(&SHARED, System);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for size in 1..if cfg!(miri) { 20 } else { 2000 } {
                        let mut block = hold(|| Block::new(&allocator, size, 1));
                        // SAFETY: The vault gives what is all zeros.
                        let bytes = unsafe { slice::from_raw_parts(block.pointer, size) };
                        assert!(bytes.iter().all(|byte| *byte == 0));
                        block.fill();
                        assert!(SHARED.holds(block.pointer) && block.is_filled(size));
                    }
                });
            }
        });
        assert_eq!(SHARED.spilled(), 0);
    }
}
