#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "session"),
    expect(dead_code, reason = "the session layer is off")
)]
//! Workspace tokens for tower.

pub mod authority;
pub mod cipher;
pub mod clock;
pub mod error;
pub mod id;
pub mod jwt;
pub mod rejection;
pub mod store;
mod sync;
pub mod token;
