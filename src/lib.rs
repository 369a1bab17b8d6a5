#![forbid(unsafe_code)]
//! Workspace tokens for tower.

pub mod cipher;
pub mod clock;
pub mod error;
pub mod id;
pub mod store;
pub mod token;
