//! What the process does for its secrets before it has any.

use anyhow::Context as _;
use rustix::{fs::Mode, process};

/// Keeps core dumps and debuggers of other processes out, and other users out of files that are made.
pub(crate) fn harden() -> anyhow::Result<()> {
    process::umask(Mode::RWXG | Mode::RWXO);
    process::set_dumpable_behavior(process::DumpableBehavior::NotDumpable)
        .context("cannot switch core dumps off")
}
