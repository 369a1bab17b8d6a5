//! The comparison over HTTP: each candidate as a server of its own on one core, the load on another.

pub mod child;
pub mod comparison;
pub mod load;
pub mod servers;
pub mod wrk;
