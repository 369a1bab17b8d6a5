//! Loom models of what a rotation promises: every interleaving of a few threads over the library's own
//! `liveness.rs`, `gate.rs` and `record.rs`, included as they are.
//!
//! ```sh
//! cargo test --release --manifest-path loom/Cargo.toml
//! ```
//!
//! takes seconds and needs no flags: the files ask for `crate::sync`, which is [`sync`] here. Each model
//! comes with variants that are broken on purpose, each in one of the ways that look just as good, and
//! a test that fails unless loom finds the interleaving in which that goes wrong.
//!
//! What is not modelled: the async code around these files (`rotate.rs`, `verify.rs`, the layer's future
//! and body). The models repeat its order of steps, each step marked by the name it has there; whoever
//! changes the order there changes it here.

#![forbid(unsafe_code)]

#[path = "../../src/authority/polls/gate.rs"]
mod gate;
#[expect(dead_code, reason = "the models need a part of it")]
#[path = "../../src/authority/liveness.rs"]
mod liveness;
#[path = "../../src/authority/slots/record.rs"]
mod record;
mod sync;

pub mod explore;
pub mod models;
