//! Counts the polls of guarded calls and bodies that are under way, so that a rotation can wait for them.
//!
//! A call registers with its cell only when it has to wait, which costs nothing on most requests; this
//! counter covers the moments in between, when inner code runs that was let through under the old generation.

mod gate;

use crate::sync::AtomicU64;
use gate::{Polls, Stripe};

/// Enough that threads rarely share one, and a rotation still reads them all in no time.
const STRIPES: usize = 32;

/// The polls under way in this process.
pub(crate) static POLLS: Polls<STRIPES> =
    Polls::new([const { Stripe::new(AtomicU64::new(0)) }; STRIPES]);
