//! Which stripe of the gate each thread counts its polls in: one of its own, as long as there are any.

use std::sync::atomic::{AtomicU64, Ordering};

use super::gate::Seat;

/// The stripes that threads can have for themselves. One more is for all that come later.
pub(super) const OWN_STRIPES: usize = u64::BITS as usize;

/// A bit for each stripe that some thread owns.
static OWNED: AtomicU64 = AtomicU64::new(0);

/// Where one thread sits; given back when the thread ends.
struct Taken(Seat);

impl Taken {
    fn take() -> Self {
        // Acquires what the last owner wrote to its counter.
        let owned = OWNED.fetch_update(Ordering::Acquire, Ordering::Relaxed, |owned| {
            (owned != u64::MAX).then(|| owned | 1 << owned.trailing_ones())
        });
        Self(owned.map_or(Seat::Shared(OWN_STRIPES), |owned| {
            Seat::Own(owned.trailing_ones() as usize)
        }))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Seat::Own(stripe) = self.0 {
            OWNED.fetch_and(!(1 << stripe), Ordering::Release);
        }
    }
}

/// Returns the seat of this thread.
#[inline]
pub(super) fn seat_of_thread() -> Seat {
    thread_local!(static TAKEN: Taken = Taken::take());
    // The seat of a thread that is being torn down may be somebody else's by now.
    TAKEN
        .try_with(|taken| taken.0)
        .unwrap_or(Seat::Shared(OWN_STRIPES))
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    /// More threads than seats, all at once, and then again.
    #[test]
    fn no_two_threads_own_a_stripe_and_each_is_given_back() {
        const THREADS: usize = OWN_STRIPES + 8;
        for _ in 0..3 {
            let all_sit = Barrier::new(THREADS);
            let mut stripes: Vec<usize> = thread::scope(|scope| {
                let sitting = || {
                    let seat = seat_of_thread();
                    all_sit.wait();
                    match seat {
                        Seat::Own(stripe) => Some(stripe),
                        Seat::Shared(stripe) => {
                            assert_eq!(stripe, OWN_STRIPES);
                            None
                        }
                    }
                };
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(sitting)).collect();
                let seats = threads.into_iter().map(|thread| thread.join().unwrap());
                seats.flatten().collect()
            });
            // Tests that run beside this one sit somewhere as well.
            assert!(stripes.len() > OWN_STRIPES / 2, "{stripes:?}");
            let count = stripes.len();
            stripes.sort_unstable();
            stripes.dedup();
            assert_eq!(stripes.len(), count);
        }
    }
}
