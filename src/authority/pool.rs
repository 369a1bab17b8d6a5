//! Values that are never freed but used again: what [`Hold`](super::liveness::Hold)s point to.
//!
//! Memory is bounded by the most that were in use or waited on at one time.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::liveness::Cell;

/// Values of one kind that wait for their next use, the first to come back first.
#[derive(Debug)]
pub(super) struct Pool<T: 'static> {
    idle: Mutex<VecDeque<&'static T>>,
}

/// How many values are asked whether they are watched before a new one is made.
const LOOKS: usize = 8;

/// A value that can be used again.
pub(super) trait Reuse: Default {
    /// How many values lie idle before the first of them is used again.
    ///
    /// A hold that outlives its slot (a call that is under way while the last clone of its authority is
    /// dropped) stays true until then. Nobody is told of its end, since nobody is left who could rotate.
    const QUARANTINE: usize = 4096;

    /// Returns whether somebody still waits on it, so that nobody else may have it yet.
    fn is_watched(&self) -> bool;

    /// Makes it as good as new.
    fn begin_new_life(&self);
}

impl<T: Reuse> Pool<T> {
    pub(super) const fn new() -> Self {
        Self {
            idle: Mutex::new(VecDeque::new()),
        }
    }

    /// Takes a value that is as good as new. It has one owner, who gives it back once.
    pub(super) fn take(&self) -> &'static T {
        match self.longest_idle() {
            Some(value) => {
                value.begin_new_life();
                value
            }
            None => Box::leak(Box::new(T::default())),
        }
    }

    /// Takes back what nobody owns any longer.
    pub(super) fn give_back(&self, value: &'static T) {
        self.idle().push_back(value);
    }

    /// Returns the value that has lain idle longest and is watched by nobody; `None` if it is not soon found.
    fn longest_idle(&self) -> Option<&'static T> {
        let mut idle = self.idle();
        for _ in 0..LOOKS {
            if idle.len() <= T::QUARANTINE {
                return None;
            }
            let value = idle.pop_front()?;
            // Asked now and not when it came back: who still holds it may begin to wait at any time.
            if !value.is_watched() {
                return Some(value);
            }
            idle.push_back(value);
        }
        None
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<&'static T>> {
        // Nothing panics while the lock is held with the queue half-changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cell by itself, on a cache line of its own: no neighbour's waiters slow its readers down.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct LoneCell(pub(super) Cell);

impl Reuse for LoneCell {
    fn is_watched(&self) -> bool {
        self.0.is_watched()
    }

    fn begin_new_life(&self) {
        self.0.begin_new_life();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Value {
        is_watched: AtomicBool,
        lives: AtomicUsize,
    }

    impl Reuse for Value {
        fn is_watched(&self) -> bool {
            self.is_watched.load(Ordering::SeqCst)
        }

        fn begin_new_life(&self) {
            self.lives.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn values_are_used_again_after_their_quarantine_and_memory_does_not_grow() {
        let pool = Pool::<Value>::new();
        let first = pool.take();
        pool.give_back(first);
        for _ in 0..Value::QUARANTINE {
            let other = pool.take();
            assert!(!std::ptr::eq(other, first));
            pool.give_back(other);
        }
        let again = pool.take();
        assert!(std::ptr::eq(again, first));
        assert_eq!(again.lives.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_somebody_waits_on_is_not_used_again_until_nobody_does() {
        let pool = Pool::<Value>::new();
        let watched = pool.take();
        watched.is_watched.store(true, Ordering::SeqCst);
        pool.give_back(watched);
        let is_used_again = || {
            (0..2 * Value::QUARANTINE).any(|_| {
                let other = pool.take();
                pool.give_back(other);
                std::ptr::eq(other, watched)
            })
        };
        assert!(!is_used_again());
        watched.is_watched.store(false, Ordering::SeqCst);
        assert!(is_used_again());
    }

    #[test]
    fn a_new_value_is_made_where_all_that_lie_idle_are_watched() {
        let pool = Pool::<Value>::new();
        let taken = Vec::from_iter((0..Value::QUARANTINE + 2 * LOOKS).map(|_| pool.take()));
        for value in &taken {
            value.is_watched.store(true, Ordering::SeqCst);
            pool.give_back(value);
        }
        let new = pool.take();
        assert!(!taken.iter().any(|value| std::ptr::eq(*value, new)));
    }
}
