//! Counts in place of times: allocations for a request, and memory for a remembered token.
//!
//! For a program whose allocator is [`CountingAllocator`]; the race has another, so that counting does not
//! disturb it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dashmap::DashMap;
use peers_report::results::MemoryRow;
use tower_workspace_token::MemoryStore;

use crate::{
    lane::Entry,
    lanes::{
        cached::{self, Memory},
        ours,
    },
    token::{Claims, Resident, World, authority},
};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, and a count of what it does.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

// SAFETY: every call goes to the system's allocator as it came, and its answer is handed back as it is.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`, which are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above; the pointer came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE_BYTES.fetch_add(size, Ordering::Relaxed);
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Returns the allocations for a request of each lane beyond those of its base.
///
/// # Panics
/// A lane admits what it has to refuse, or refuses what it has to admit.
pub fn allocations(entries: &mut [Entry]) -> Vec<(String, f64)> {
    let counts = entries.iter_mut().map(|entry| {
        entry.lane.prepare(entry.batch);
        entry.lane.run();
        entry.lane.prepare(entry.batch);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let sample = entry.lane.run();
        let after = ALLOCATIONS.load(Ordering::Relaxed);
        assert!(
            entry.is_sound(&sample, entry.batch),
            "{}: {sample:?}",
            entry.id
        );
        (
            entry.id.clone(),
            (after - before) as f64 / entry.batch as f64,
        )
    });
    let counts: HashMap<String, f64> = counts.collect();
    entries
        .iter()
        .map(|entry| {
            let base = entry.base.as_ref().map_or(0.0, |base| counts[base]);
            (entry.id.clone(), counts[&entry.id] - base)
        })
        .collect()
}

/// Returns what it takes to remember each of `count` tokens.
pub fn memory(world: &World, count: usize) -> Vec<MemoryRow> {
    let store = MemoryStore::new();
    let issuer = authority(store.clone(), &world.keys);
    let residents = world.tokens_of_many(&issuer, count);

    // One that has issued nothing: what it holds afterwards is what checking made it remember. The issuer stays, or
    // what it remembered in would be used again and not be counted.
    let checker = authority(store, &world.keys);
    let service = ours::by_host(&checker, ours::handler());
    let ours = live_bytes_of(|| ours::warm_up(world, &service, &residents));
    drop(issuer);
    let row = |label: &str, ours, bytes| MemoryRow {
        label: label.to_owned(),
        ours,
        tokens: count,
        bytes_per_token: bytes as f64 / count as f64,
    };
    vec![
        row("the authority", true, ours),
        row("moka 0.12", false, kept(cached::moka(), &residents)),
        row(
            "dashmap 6",
            false,
            kept(DashMap::<String, _>::new(), &residents),
        ),
        row(
            "`RwLock<HashMap>`",
            false,
            kept(cached::locked(), &residents),
        ),
    ]
}

/// Returns the bytes that `memory` takes for the tokens of all residents.
fn kept(memory: impl Memory<str>, residents: &[Resident]) -> usize {
    live_bytes_of(|| {
        for Resident { token, .. } in residents {
            memory.insert(token, Arc::new(claims_of(token)));
        }
    })
}

/// Returns how many more bytes are in use after `work`.
fn live_bytes_of(work: impl FnOnce()) -> usize {
    let before = LIVE_BYTES.load(Ordering::Relaxed);
    work();
    LIVE_BYTES.load(Ordering::Relaxed).saturating_sub(before)
}

/// Reads the claims of a token of which it is known that it is good.
fn claims_of(token: &str) -> Claims {
    let payload = token.split('.').nth(1).expect("a JWT has three parts");
    let json = URL_SAFE_NO_PAD.decode(payload).expect("it is base64url");
    serde_json::from_slice(&json).expect("it is JSON")
}
