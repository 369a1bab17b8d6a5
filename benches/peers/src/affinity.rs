//! Which core runs what.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The number of a core.
pub type Core = usize;

/// Returns the cores that this process may use.
pub fn cores() -> Vec<Core> {
    let set = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU)
        .filter(|&core| set.is_set(core))
        .collect()
}

/// Keeps this thread, and those that it starts from here on, on `core`. Where that is not allowed the
/// results are noisier and nothing else.
pub fn pin(core: Core) {
    let mut set = CpuSet::new();
    set.set(core);
    if let Err(error) = sched_setaffinity(None, &set) {
        eprintln!("not pinned to core {core}: {error}");
    }
}
