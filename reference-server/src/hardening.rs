//! What the process does for its secrets before it has any.

use std::hint::black_box;

use anyhow::Context as _;
use rustix::{fs::Mode, process};
use workspace_token_key_memory::{self as key_memory, Protection};

/// Keeps core dumps and debuggers of other processes out, and other users out of files that are made; opens
/// the vault for keys.
pub(crate) fn harden() -> anyhow::Result<()> {
    key_memory::open();
    process::umask(Mode::RWXG | Mode::RWXO);
    process::set_dumpable_behavior(process::DumpableBehavior::NotDumpable)
        .context("cannot switch core dumps off")
}

/// Wipes what functions that have returned left on this thread's stack: the tokens that they looked at.
///
/// For a thread that is about to wait, which has time.
#[inline(never)]
pub(crate) fn wipe_dead_stack() {
    let mut dead = [0_u8; DEAD_STACK];
    // Whoever might read it keeps the compiler from leaving it out.
    black_box(&mut dead);
}

/// As deep as the functions that handle a request get, and some more.
const DEAD_STACK: usize = if cfg!(debug_assertions) { 512 } else { 64 } * 1024;

/// Logs that there are more keys than the vault holds.
pub(crate) fn warn_of_spilled_keys() {
    let spilled = key_memory::spilled();
    if spilled > 0 {
        tracing::warn!(
            spilled,
            "some keys lie in ordinary memory, since the memory for keys is full: retire the former ones that no token needs"
        );
    }
}

/// Logs how the memory is protected that keys lie in.
pub(crate) fn log_key_memory() {
    match key_memory::open() {
        Protection::Secret => {
            tracing::info!("keys lie in memory that the kernel lets no other process read");
        }
        Protection::Locked => tracing::info!("keys lie in memory that is locked against swap"),
        Protection::Unlocked | Protection::Nowhere => tracing::warn!(
            "keys lie in memory that may be swapped out: let the process lock 256 KiB (`ulimit -l`, LimitMEMLOCK), or have no swap"
        ),
    }
}
