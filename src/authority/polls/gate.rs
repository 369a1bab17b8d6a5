//! The gate that polls go through: enter, then check the generation; and, on the other side, raise the
//! generation, then see every stripe empty once.
//!
//! This file uses nothing but `crate::sync` and the standard library: the loom models include it as it is.

use std::marker::PhantomData;

use crate::sync::{AtomicU64, Ordering};

/// The polls under way, spread over cache lines so that threads don't contend.
#[derive(Debug)]
pub(crate) struct Polls<const STRIPES: usize> {
    stripes: [Stripe; STRIPES],
}

/// A counter on a cache line (two, for adjacent-line prefetch) of its own.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Stripe(AtomicU64);

/// The stripe in which a thread counts its polls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seat {
    /// No other thread writes to it.
    Own(usize),
    Shared(usize),
}

/// One poll under way; ends when dropped, on the thread that it began on.
#[derive(Debug)]
pub(crate) struct PollGuard<'a> {
    stripe: &'a Stripe,
    is_own: bool,
    thread: PhantomData<*const ()>,
}

/// The polls that were under way at one moment and are not yet known to have ended.
#[derive(Debug)]
pub(crate) struct Outstanding(Vec<usize>);

impl Stripe {
    /// Takes the counter ready made, since loom's is not made in a `const`.
    pub(crate) const fn new(polls: AtomicU64) -> Self {
        Self(polls)
    }
}

impl<const STRIPES: usize> Polls<STRIPES> {
    pub(crate) const fn new(stripes: [Stripe; STRIPES]) -> Self {
        Self { stripes }
    }

    /// Enters a poll. Whoever enters checks its generation *afterwards*.
    #[inline]
    pub(crate) fn enter(&self, seat: Seat) -> PollGuard<'_> {
        let (stripe, is_own) = match seat {
            Seat::Own(stripe) => (stripe, true),
            Seat::Shared(stripe) => (stripe, false),
        };
        let stripe = &self.stripes[stripe];
        // Sequentially consistent with the generation: of a poll that enters and checks and a rotation
        // that raises and looks here, at least one sees the other.
        stripe.0.fetch_add(1, Ordering::SeqCst);
        PollGuard {
            stripe,
            is_own,
            thread: PhantomData,
        }
    }

    /// Returns all stripes as not yet seen empty. Called *after* the generation was raised.
    pub(crate) fn outstanding(&self) -> Outstanding {
        Outstanding((0..STRIPES).collect())
    }

    /// Strikes off the stripes that are empty now; returns whether none is left.
    ///
    /// A stripe that was empty once after the generation rose holds no poll of the old one: those that
    /// entered since have seen the new one.
    pub(crate) fn settle(&self, outstanding: &mut Outstanding) -> bool {
        outstanding
            .0
            .retain(|stripe| self.stripes[*stripe].0.load(Ordering::SeqCst) != 0);
        outstanding.0.is_empty()
    }
}

impl Drop for PollGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.is_own {
            // Nobody else writes, so there is no need for a second locked instruction, which would take
            // longer than the rest of both. Released: whoever sees it sees the poll over.
            let polls = self.stripe.0.load(Ordering::Relaxed);
            self.stripe.0.store(polls - 1, Ordering::Release);
        } else {
            self.stripe.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polls() -> Polls<4> {
        Polls::new(std::array::from_fn(|_| Stripe::new(AtomicU64::new(0))))
    }

    #[test]
    fn a_poll_is_outstanding_until_it_ends() {
        for seat in [Seat::Own(1), Seat::Shared(3)] {
            let polls = polls();
            let poll = polls.enter(seat);
            let mut outstanding = polls.outstanding();
            assert!(!polls.settle(&mut outstanding));
            // A service may call another one that is guarded.
            drop(polls.enter(seat));
            assert!(!polls.settle(&mut outstanding));
            drop(poll);
            assert!(polls.settle(&mut outstanding));
        }
    }

    #[test]
    fn polls_that_began_since_are_not_waited_for() {
        let polls = polls();
        let mut outstanding = polls.outstanding();
        assert!(polls.settle(&mut outstanding));
        let _later = polls.enter(Seat::Own(0));
        assert!(polls.settle(&mut outstanding));
    }
}
