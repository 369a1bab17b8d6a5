//! MCP against the real binary, over HTTP, in both eras.

mod client;
#[path = "../server/common.rs"]
#[expect(
    dead_code,
    reason = "these tests use a part of what the other tests use"
)]
mod common;
mod endpoint;
mod push;
mod rotation;
mod tools;
mod waiting;
