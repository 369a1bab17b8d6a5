#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used)]
//! The reference server of `tower-workspace-token`: workspaces, their tokens, and the tasks and
//! messages through which agents and people work together.
//!
//! The binary `wst` is [`cli::main`] and nothing else. The server uses the library's public API only.
//!
//! | module | holds |
//! |---|---|
//! | `cli` | the command line, a thin face of `actions` |
//! | `serve`, `http`, `mcp` | the public listener |
//! | `control`, `api` | the same actions for commands, over a socket in the data directory |
//! | `actions` | what people do, a file each |
//! | `tasks`, `workspaces` | what agents and people work on |
//! | `app` | what they all share |
//! | `data_dir`, `db`, `key_check` | files, tables, keys |

mod actions;
mod addresses;
mod api;
pub mod app;
pub mod cli;
mod config;
mod control;
mod data_dir;
pub mod db;
mod error;
mod hardening;
mod http;
mod key_check;
mod logging;
mod mcp;
mod serve;
pub mod tasks;
mod time;
mod workspaces;
