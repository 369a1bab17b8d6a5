//! Which stripe of the gate a thread has for itself, as long as there are any.

use std::sync::atomic::{AtomicU64, Ordering};

/// The stripes that threads can have for themselves.
#[derive(Debug)]
pub(crate) struct Seats {
    /// A bit for each that some thread has.
    taken: AtomicU64,
}

impl Seats {
    /// How many there are.
    pub(crate) const COUNT: usize = u64::BITS as usize;

    pub(crate) const fn new() -> Self {
        Self {
            taken: AtomicU64::new(0),
        }
    }

    /// Takes a stripe that nobody has, if there is one.
    pub(crate) fn take(&self) -> Option<usize> {
        // Acquires what the last owner wrote to its counter: the next one counts on from there.
        let take = |taken: u64| (taken != u64::MAX).then(|| taken | 1 << taken.trailing_ones());
        let taken = self
            .taken
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, take);
        taken.ok().map(|taken| taken.trailing_ones() as usize)
    }

    /// Gives a stripe back, whose owner has left the gate.
    pub(crate) fn give_back(&self, stripe: usize) {
        self.taken.fetch_and(!(1 << stripe), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    /// More threads than seats, all at once, and then again.
    #[test]
    fn no_two_threads_have_one_stripe_and_each_is_given_back() {
        const THREADS: usize = Seats::COUNT + 8;
        let seats = Seats::new();
        for _ in 0..3 {
            let all_sit = Barrier::new(THREADS);
            let sit = || {
                let stripe = seats.take();
                all_sit.wait();
                stripe.inspect(|stripe| seats.give_back(*stripe))
            };
            let mut stripes: Vec<usize> = thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(sit)).collect();
                let stripes = threads.into_iter().map(|thread| thread.join().unwrap());
                stripes.flatten().collect()
            });
            stripes.sort_unstable();
            assert!(stripes.into_iter().eq(0..Seats::COUNT));
        }
    }
}
