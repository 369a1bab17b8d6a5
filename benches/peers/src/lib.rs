//! Races `tower-workspace-token` against what else one would use.
//!
//! `docs/benchmarks.md` says what is measured and how. [`lanes`] holds the candidates, [`catalogue`] says
//! which work each of them does, [`race`] takes the times.

pub mod affinity;
pub mod catalogue;
pub mod counting;
pub mod http;
pub mod inner;
pub mod lane;
pub mod lanes;
pub mod many;
pub mod provenance;
pub mod race;
pub mod request;
pub mod stats;
pub mod threads;
pub mod token;
