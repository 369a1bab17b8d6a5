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
//! | `client` | asks servers from outside, for commands that work on a laptop |
//! | `serve`, `listener` | start and stop, and how the server is reached |
//! | `http`, `mcp` | what is behind the public listener |
//! | `admin`, `metrics` | the admin listener and what is counted |
//! | `dashboard` | the pages for people |
//! | `control`, `api` | the same actions for commands, over a socket in the data directory |
//! | `actions` | what people do, a file each |
//! | `tasks`, `workspaces` | what agents and people work on |
//! | `clients` | MCP clients: their files, their syntax, how each is told of a workspace |
//! | `people`, `caller`, `audit` | who does it, what they may, and what they did |
//! | `activity` | who is connected, what tokens are used for, which old ones are still tried |
//! | `live` | tells open pages what has changed |
//! | `app` | what they all share |
//! | `data_dir`, `db`, `key_check`, `key_room` | files, tables, keys |
//! | `at_rest`, `rollback` | what is kept of tokens, and the journal that notices when an old database was put back |
//! | `backup` | backups and how they come back |
//! | `bare` | the tools with nothing around them, for a comparison; not in `wst` |
//! | `bench` | `wst bench`: what validating a token costs on this machine |
//! | `demo` | `wst serve --demo`: a workspace to look around in, and its scripted agent |
//! | `doctor` | `wst doctor`: what is looked at from outside of the server |
//! | `fuzzing` | what must hold of files that people write, for `fuzz/`; not in `wst` |
//! | `limits`, `rate` | how much clients may take, and how often |
//! | `probes` | how a request of `wst doctor` reached the server |
//! | `progress` | how far long work has come |
//! | `scan` | `wst scan`: tokens that have leaked into files and histories |

mod actions;
mod activity;
mod addresses;
mod admin;
mod api;
pub mod app;
mod at_rest;
mod audit;
mod backup;
#[cfg(feature = "bare")]
pub mod bare;
mod bench;
mod caller;
pub mod cli;
mod client;
mod clients;
mod config;
mod control;
mod dashboard;
mod data_dir;
pub mod db;
mod demo;
mod doctor;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod git;
mod hardening;
mod http;
mod key_check;
mod key_room;
mod lifecycle;
mod limits;
mod listener;
mod live;
mod logging;
mod mcp;
mod metrics;
mod migrate;
mod nodes;
mod once;
mod people;
mod probes;
mod progress;
mod rate;
mod replacements;
mod rollback;
mod scan;
mod serve;
pub mod tasks;
mod text;
mod time;
mod variables;
mod workspaces;
