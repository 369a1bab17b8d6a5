//! The binary `wst`; see the library of the same package.

fn main() {}
