//! What the benchmarks measure, as data, and what is made of it: tables and charts.
//!
//! Apart from the benchmarks themselves, so that checking the document against its results does not
//! build every peer.

pub mod chart;
pub mod document;
pub mod results;
pub mod tables;
