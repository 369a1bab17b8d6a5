//! wst
fn main() {}
