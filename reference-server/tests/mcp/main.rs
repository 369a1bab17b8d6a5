//! MCP against the real binary, over HTTP, in both eras.

mod access;
mod activity;
mod attachments;
mod client;
#[path = "../server/common.rs"]
#[expect(
    dead_code,
    reason = "these tests use a part of what the other tests use"
)]
mod common;
mod endpoint;
mod permissions;
mod push;
mod rotation;
mod settings;
mod tools;
mod waiting;
mod wire;
