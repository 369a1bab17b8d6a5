//! Counts the polls of guarded calls and bodies that are under way, so that a rotation can wait for them.
//!
//! A call registers with its cell only when it has to wait, which costs nothing on most requests; this
//! counter covers the moments in between, when inner code runs that was let through under the old generation.

mod gate;
mod seat;

use crate::sync::AtomicU64;
use gate::{PollGuard, Polls, Stripe};
use seat::{OWN_STRIPES, seat_of_thread};

/// One for each thread that sits by itself, and one for all others.
const STRIPES: usize = OWN_STRIPES + 1;

/// The polls under way in this process.
pub(crate) static POLLS: Polls<STRIPES> =
    Polls::new([const { Stripe::new(AtomicU64::new(0)) }; STRIPES]);

/// Enters a poll on this thread. Whoever enters checks its generation *afterwards*.
#[inline]
pub(crate) fn enter() -> PollGuard<'static> {
    POLLS.enter(seat_of_thread())
}
