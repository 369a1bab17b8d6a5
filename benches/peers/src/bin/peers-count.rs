//! Counts allocations for a request and memory for a remembered token, and prints both as JSON.
//!
//! The race runs it by itself: counting would disturb the clock.

use std::sync::Arc;

use anyhow::Context as _;
use peers::{catalogue::catalogue, counting, counting::CountingAllocator, race, token::World};
use peers_report::results::Counts;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> anyhow::Result<()> {
    let tokens = std::env::args()
        .nth(1)
        .context("usage: peers-count TOKENS")?;
    let tokens = tokens.parse().context("TOKENS is a number")?;
    let world = Arc::new(World::new()?);
    let _runtime = world.runtime.enter();
    let mut entries = catalogue(&world)?;
    race::keep_sound(&mut entries, &world.tokens.foreign);
    let counts = Counts {
        allocations: counting::allocations(&mut entries),
        memory: counting::memory(&world, tokens),
    };
    println!("{}", serde_json::to_string(&counts)?);
    Ok(())
}
