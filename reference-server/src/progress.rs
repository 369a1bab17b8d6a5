//! How far long work has come, for whoever watches it from elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Work that takes a while, of which one runs at a time.
#[derive(Debug, Default)]
pub(crate) struct Job {
    turn: tokio::sync::Mutex<()>,
    done: AtomicU64,
    total: AtomicU64,
    /// A file that is being written, whose length counts as done too.
    growing: Mutex<Option<PathBuf>>,
}

/// The kinds of such work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobKind {
    Backup,
    Rewrap,
}

/// All such work of a server.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    pub(crate) backup: Job,
    pub(crate) rewrap: Job,
}

impl Jobs {
    pub(crate) fn get(&self, kind: JobKind) -> &Job {
        match kind {
            JobKind::Backup => &self.backup,
            JobKind::Rewrap => &self.rewrap,
        }
    }
}

impl Job {
    /// Waits until no other work of this kind runs, and keeps others waiting until the guard is dropped.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        let turn = self.turn.lock().await;
        self.begin(0);
        turn
    }

    /// Begins to count anew.
    pub(crate) fn begin(&self, total: u64) {
        self.watch(None);
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, done: u64) {
        self.done.fetch_add(done, Ordering::Relaxed);
    }

    /// Counts the length of a file that somebody else writes.
    pub(crate) fn watch(&self, file: Option<&Path>) {
        *self.growing.lock().unwrap_or_else(PoisonError::into_inner) = file.map(Path::to_owned);
    }

    /// Returns how much is done, and of how much; of 0 if nothing runs or nothing is known yet.
    pub(crate) fn standing(&self) -> (u64, u64) {
        let total = self.total.load(Ordering::Relaxed);
        let growing = self
            .growing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let length = growing.and_then(|path| fs::metadata(path).ok());
        let length = length.map_or(0, |metadata| metadata.len());
        let done = self.done.load(Ordering::Relaxed).saturating_add(length);
        (done.min(total), total)
    }
}
