#![forbid(unsafe_code)]
//! The reference server of `tower-workspace-token`: workspaces, their tokens, and the tasks and
//! messages through which agents and people work together.
//!
//! The binary `wst` is [`cli::main`] and nothing else. The server uses the library's public API only.

pub mod db;
pub mod tasks;
mod time;
mod workspaces;
