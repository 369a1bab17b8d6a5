//! Counts the polls of guarded calls and bodies that are under way, so that a rotation can wait for them.
//!
//! A call registers with its cell only when it has to wait, which costs nothing on most requests; this
//! counter covers the moments in between, when inner code runs that was let through under the old generation.

mod gate;
mod seats;

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::AtomicU64;
use gate::{PollGuard, Polls, Seat, Stripe};
use seats::Seats;

/// The stripes of threads that found no seat: several, so that a rotation finds each empty now and then.
const SHARED_STRIPES: usize = 32;

const STRIPES: usize = Seats::COUNT + SHARED_STRIPES;

/// The polls under way in this process.
pub(crate) static POLLS: Polls<STRIPES> =
    Polls::new([const { Stripe::new(AtomicU64::new(0)) }; STRIPES]);

static SEATS: Seats = Seats::new();

/// Where one thread counts its polls; given back when the thread ends.
struct Seated(Seat);

impl Seated {
    fn sit() -> Self {
        Self(SEATS.take().map_or_else(shared, Seat::Own))
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        if let Seat::Own(stripe) = self.0 {
            SEATS.give_back(stripe);
        }
    }
}

/// Enters a poll on this thread. Whoever enters checks its generation *afterwards*.
#[inline]
pub(crate) fn enter() -> PollGuard<'static> {
    thread_local!(static SEATED: Seated = Seated::sit());
    // What a thread had that is being torn down may be somebody else's by now.
    let seat = SEATED.try_with(|seated| seated.0);
    POLLS.enter(seat.unwrap_or_else(|_| shared()))
}

fn shared() -> Seat {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Seat::Shared(Seats::COUNT + number % SHARED_STRIPES)
}
