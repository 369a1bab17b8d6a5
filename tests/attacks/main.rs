//! Attacks on the library: what users see is all that these tests see.
//!
//! [`table`] runs every named case against its expected answer and its positive control, through axum and
//! warp, over HTTP/1.1 and HTTP/2; the other files hold the cases, a family each, and the named tests of
//! the rules, which ask axum without a socket. `docs/security-tests.md`
//! says which test stands for which rule.
#![expect(
    clippy::unwrap_used,
    reason = "what cannot be set up has failed the test"
)]

mod access;
mod claims;
mod common;
mod elsewhere;
mod encoding;
mod exhaustion;
mod frames;
mod headers;
mod hosts;
mod http_rules;
mod json;
mod kinds;
#[cfg(feature = "tracing")]
mod logs;
mod origins;
mod paths;
mod places;
mod published;
mod rows;
mod secrecy;
mod sessions;
mod table;
mod token_rules;
