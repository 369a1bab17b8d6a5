//! Counts the polls of guarded calls and bodies that are under way, so that a rotation can wait for them.
//!
//! A call registers with its cell only when it has to wait, which costs nothing on most requests; this
//! counter covers the moments in between, when inner code runs that was let through under the old generation.

use crate::sync::{AtomicU64, Ordering};

/// Enough that threads rarely share one, and a rotation still reads them all in no time.
const STRIPES: usize = 32;

/// The polls under way in this process, spread over cache lines so that threads don't contend.
pub(crate) static POLLS: Polls = Polls::new();

#[derive(Debug)]
pub(crate) struct Polls {
    stripes: [Stripe; STRIPES],
}

/// A counter on a cache line (two, for adjacent-line prefetch) of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe(AtomicU64);

/// One poll under way; ends when dropped.
#[derive(Debug)]
pub(crate) struct PollGuard<'a> {
    stripe: &'a Stripe,
}

/// The polls that were under way at one moment and are not yet known to have ended.
#[derive(Debug)]
pub(crate) struct Outstanding(Vec<usize>);

impl Polls {
    const fn new() -> Self {
        Self {
            stripes: [const { Stripe(AtomicU64::new(0)) }; STRIPES],
        }
    }

    /// Enters a poll. Whoever enters checks its generation *afterwards*.
    pub(crate) fn enter(&self) -> PollGuard<'_> {
        let stripe = &self.stripes[stripe_of_thread()];
        stripe.0.fetch_add(1, Ordering::SeqCst);
        PollGuard { stripe }
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
    fn drop(&mut self) {
        self.stripe.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn stripe_of_thread() -> usize {
    use std::sync::atomic::AtomicUsize;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static STRIPE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
    STRIPE.with(|stripe| *stripe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_is_outstanding_until_it_ends() {
        let polls = Polls::new();
        let poll = polls.enter();
        let mut outstanding = polls.outstanding();
        assert!(!polls.settle(&mut outstanding));
        drop(poll);
        assert!(polls.settle(&mut outstanding));
    }

    #[test]
    fn polls_that_began_since_are_not_waited_for() {
        let polls = Polls::new();
        let mut outstanding = polls.outstanding();
        assert!(polls.settle(&mut outstanding));
        let _later = polls.enter();
        assert!(polls.settle(&mut outstanding));
    }
}
