//! The store as its users see it.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "whatever is unwrapped here is what a test asserts"
)]

mod contract;
mod damage;
mod durability;
mod feed;
mod files;
mod merge;
mod own_tables;
mod rollback;
mod room;
mod support;
