//! What `crate::sync` is for the included files: loom's primitives.
//!
//! loom gets sequentially consistent accesses half right, and `SeqCst` fences wholly. One of these between
//! any two `SeqCst` accesses of a thread comes to the same (C++20, atomics.order), so [`AtomicU64`] makes
//! `AcqRel` accesses and such fences. Only between two: a fence beside a single one would make up for a
//! neighbour that asks for less, and no model would notice.

use loom::sync::atomic;
pub(crate) use loom::sync::{Mutex, MutexGuard};
// Only counts owners: nothing that loom has to explore.
pub(crate) use std::sync::{Arc, PoisonError};

pub(crate) use std::sync::atomic::Ordering;

#[derive(Debug)]
pub(crate) struct AtomicU64(atomic::AtomicU64);

impl AtomicU64 {
    pub(crate) fn new(value: u64) -> Self {
        Self(atomic::AtomicU64::new(value))
    }

    pub(crate) fn load(&self, ordering: Ordering) -> u64 {
        fence_between(ordering);
        self.0.load(match ordering {
            Ordering::SeqCst => Ordering::Acquire,
            weaker => weaker,
        })
    }

    pub(crate) fn store(&self, value: u64, ordering: Ordering) {
        fence_between(ordering);
        let ordering = match ordering {
            Ordering::SeqCst => Ordering::Release,
            weaker => weaker,
        };
        self.0.store(value, ordering);
    }

    pub(crate) fn fetch_add(&self, value: u64, ordering: Ordering) -> u64 {
        fence_between(ordering);
        self.0.fetch_add(value, acquire_release(ordering))
    }

    pub(crate) fn fetch_sub(&self, value: u64, ordering: Ordering) -> u64 {
        fence_between(ordering);
        self.0.fetch_sub(value, acquire_release(ordering))
    }

    pub(crate) fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.0.compare_exchange(current, new, success, failure)
    }

    pub(crate) fn fetch_or(&self, value: u64, ordering: Ordering) -> u64 {
        fence_between(ordering);
        self.0.fetch_or(value, acquire_release(ordering))
    }

    pub(crate) fn fetch_max(&self, value: u64, ordering: Ordering) -> u64 {
        fence_between(ordering);
        self.0.fetch_max(value, acquire_release(ordering))
    }
}

/// A fence where the library has one by itself.
pub(crate) fn fence(ordering: Ordering) {
    if !weak::is_on() {
        atomic::fence(ordering);
    }
}

fn acquire_release(ordering: Ordering) -> Ordering {
    match ordering {
        Ordering::SeqCst => Ordering::AcqRel,
        weaker => weaker,
    }
}

/// Puts a fence before a `SeqCst` access, unless it is the first of its thread.
fn fence_between(ordering: Ordering) {
    if ordering != Ordering::SeqCst || weak::is_on() {
        return;
    }
    let is_first = HAS_ACCESSED.with(|accessed| !accessed.replace(true));
    if !is_first {
        atomic::fence(Ordering::SeqCst);
    }
}

loom::thread_local! {
    /// Whether this thread of the model has made a `SeqCst` access.
    static HAS_ACCESSED: std::cell::Cell<bool> = std::cell::Cell::new(false);
}

/// Takes the fences away, to show that the models would notice.
pub(crate) mod weak {
    use std::cell::Cell;

    // loom runs all threads of a model on the thread that explores it.
    thread_local!(static IS_ON: Cell<bool> = const { Cell::new(false) });

    /// Runs `explore` with `SeqCst` read as `AcqRel`, and without fences.
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

/// Makes a value that is never freed, as the library's cells are.
pub(crate) fn leaked<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}
