//! Tests of the real binary: each has a data directory and a port of its own.

mod advice;
mod backup;
mod bench;
mod cli;
mod common;
mod config;
mod connect;
mod data_dir;
mod demo;
mod doctor;
mod fixtures;
mod floods;
mod headers;
mod health;
mod help;
mod http;
mod keys;
mod listening;
mod memory;
mod migrate;
mod refusals;
mod rollback;
mod rotation;
mod scan;
mod secrets;
mod stop;
