//! The store as its users see it, on a server that is there: `WST_TEST_POSTGRES_URL`, or the one of this machine.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "whatever is unwrapped here is what a test asserts"
)]

mod cluster;
mod contract;
mod feed;
mod nodes;
mod opening;
mod own_tables;
mod pooler;
mod support;
mod writes;
