//! How far long work has come, for whoever watches it from elsewhere; and how it is broken off.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, InterruptHandle};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{AppError, ErrorCode};

/// Work that takes a while, of which one runs at a time.
#[derive(Debug, Default)]
pub(crate) struct Job {
    turn: tokio::sync::Mutex<()>,
    done: AtomicU64,
    total: AtomicU64,
    /// A file that is being written, whose length counts as done too.
    growing: Mutex<Option<PathBuf>>,
    stop: Mutex<Stop>,
}

#[derive(Default)]
struct Stop {
    is_told: bool,
    /// How many threads work still, whoever waits for them.
    at_work: usize,
    /// The statement that takes long.
    statement: Option<InterruptHandle>,
}

/// Says that a thread is at work until it is dropped.
#[derive(Debug)]
pub(crate) struct AtWork<'a>(&'a Job);

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

    /// Notes that this thread is at work, which has to go on only for as long as the guard is there.
    ///
    /// # Errors
    /// The server is stopping.
    pub(crate) fn at_work(&self) -> Result<AtWork<'_>, AppError> {
        let mut stop = self.stop_lock();
        stop.check()?;
        stop.at_work += 1;
        Ok(AtWork(self))
    }

    /// Has what `connection` does from here on broken off when the server stops.
    pub(crate) fn may_interrupt(&self, connection: &Connection) -> Result<(), AppError> {
        let mut stop = self.stop_lock();
        stop.check()?;
        stop.statement = Some(connection.get_interrupt_handle());
        Ok(())
    }

    /// # Errors
    /// The server is stopping.
    pub(crate) fn check_stop(&self) -> Result<(), AppError> {
        self.stop_lock().check()
    }

    /// Breaks off what is at work, begins nothing any more, and waits a while until nobody is at work.
    pub(crate) async fn stop(&self) {
        for _ in 0..LOOKS {
            if self.interrupt() == 0 {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        tracing::warn!("work that takes long does not end, although the server stops");
    }

    /// Breaks off, again and again: a statement that has not begun yet hears nothing of it.
    fn interrupt(&self) -> usize {
        let mut stop = self.stop_lock();
        stop.is_told = true;
        if let Some(statement) = &stop.statement {
            statement.interrupt();
        }
        stop.at_work
    }

    fn stop_lock(&self) -> MutexGuard<'_, Stop> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Stop {
    fn check(&self) -> Result<(), AppError> {
        match self.is_told {
            true => Err(AppError::new(
                ErrorCode::Unavailable,
                "the server is stopping: try again when it runs",
            )),
            false => Ok(()),
        }
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut stop = self.0.stop_lock();
        stop.at_work -= 1;
        stop.statement = None;
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop")
            .field("is_told", &self.is_told)
            .field("at_work", &self.at_work)
            .finish_non_exhaustive()
    }
}

/// How often, and after which pause, it is looked whether work has ended: two seconds in all, of the five
/// in which a server stops.
const LOOKS: u32 = 200;
const LOOK: Duration = Duration::from_millis(10);
