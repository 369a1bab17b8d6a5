//! Those who watch the store, whichever task has something to tell them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tower_workspace_token::store::ChangeObserver;

use crate::queries::Change;

/// The observers, and whether the feed runs for them: one lock, so that neither is decided without the other.
#[derive(Debug, Default)]
pub(crate) struct Observers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    observers: Vec<ChangeObserver>,
    feed_runs: bool,
}

impl Observers {
    /// Adds an observer; returns whether the caller has to start the feed.
    #[must_use]
    pub(crate) fn add(&self, observer: ChangeObserver) -> bool {
        let mut state = self.state();
        state.observers.push(observer);
        !std::mem::replace(&mut state.feed_runs, true)
    }

    /// Returns those who still listen; if there is none, the feed has to end.
    pub(crate) fn for_feed(&self) -> Option<Vec<ChangeObserver>> {
        let mut state = self.state();
        state.observers.retain(|observer| !observer.is_closed());
        if state.observers.is_empty() {
            state.feed_runs = false;
            return None;
        }
        Some(state.observers.clone())
    }

    /// Reports changes that this process committed.
    pub(crate) fn changed(&self, changes: &[Change]) {
        for observer in self.current() {
            report(&observer, changes);
        }
    }

    /// Reports that changes may have been missed.
    pub(crate) fn resync(&self) {
        for observer in self.current() {
            observer.resync();
        }
    }

    /// Returns whether anybody still listens.
    pub(crate) fn are_there(&self) -> bool {
        self.current().iter().any(|observer| !observer.is_closed())
    }

    /// Returns a copy, since an observer wakes tasks and none of them should find the lock held.
    fn current(&self) -> Vec<ChangeObserver> {
        self.state().observers.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reports changes to one observer.
pub(crate) fn report(observer: &ChangeObserver, changes: &[Change]) {
    for change in changes {
        observer.changed(&change.key, change.generation);
    }
}
