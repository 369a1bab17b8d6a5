//! The models, a file for each mechanism; each takes the `Protocol` to follow, the library's own or a broken one.

pub mod cold_check;
pub mod drain;
pub mod new_life;
pub mod observe;
pub mod poll_gate;
pub mod record;
pub mod stripes;
pub mod wake_up;
mod woken;
