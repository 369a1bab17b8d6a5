//! What `crate::sync` is for the included files: loom's primitives.
//!
//! loom has no sequentially consistent accesses: it takes `SeqCst` for `AcqRel`. [`AtomicU64`] therefore
//! puts a `SeqCst` fence, which loom does have, before each access that asks for it. That is no more
//! than the library gets: it accesses these atomics with `SeqCst` alone, and a program that does so
//! is sequentially consistent; loom explores all of its interleavings at least.

use loom::sync::atomic;
pub(crate) use loom::sync::{Mutex, MutexGuard};
// Only counts owners; methods on `self: &Arc<Self>` need the standard library's.
pub(crate) use std::sync::{Arc, PoisonError};

pub(crate) use std::sync::atomic::Ordering;

#[derive(Debug)]
pub(crate) struct AtomicU64(atomic::AtomicU64);

impl AtomicU64 {
    pub(crate) fn new(value: u64) -> Self {
        Self(atomic::AtomicU64::new(value))
    }

    pub(crate) fn load(&self, ordering: Ordering) -> u64 {
        order(ordering);
        self.0.load(ordering)
    }

    pub(crate) fn store(&self, value: u64, ordering: Ordering) {
        order(ordering);
        self.0.store(value, ordering);
    }

    pub(crate) fn fetch_add(&self, value: u64, ordering: Ordering) -> u64 {
        order(ordering);
        self.0.fetch_add(value, ordering)
    }

    pub(crate) fn fetch_sub(&self, value: u64, ordering: Ordering) -> u64 {
        order(ordering);
        self.0.fetch_sub(value, ordering)
    }

    pub(crate) fn fetch_max(&self, value: u64, ordering: Ordering) -> u64 {
        order(ordering);
        self.0.fetch_max(value, ordering)
    }
}

fn order(ordering: Ordering) {
    if ordering == Ordering::SeqCst && !weak::is_on() {
        atomic::fence(Ordering::SeqCst);
    }
}

/// Takes the fences away, to show that the models would notice.
pub(crate) mod weak {
    use std::cell::Cell;

    // loom runs all threads of a model on the thread that explores it.
    thread_local!(static IS_ON: Cell<bool> = const { Cell::new(false) });

    /// Runs `explore` with `SeqCst` read as `AcqRel`.
    pub(crate) fn accesses<T>(explore: impl FnOnce() -> T) -> T {
        IS_ON.set(true);
        let result = explore();
        IS_ON.set(false);
        result
    }

    pub(super) fn is_on() -> bool {
        IS_ON.get()
    }
}
