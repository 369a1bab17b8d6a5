//! The contract of a store as a test suite.
