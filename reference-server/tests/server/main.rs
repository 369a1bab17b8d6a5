//! Tests of the real binary: each has a data directory and a port of its own.

mod cli;
mod common;
mod config;
mod data_dir;
mod fixtures;
mod http;
mod refusals;
mod rotation;
mod secrets;
mod stop;
