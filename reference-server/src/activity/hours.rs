//! Calls and refused requests per workspace, counted in memory until they are added to the hour's row.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tower_workspace_token::id::WorkspaceId;

/// What was counted of one workspace since the last flush.
#[derive(Debug, Default)]
pub(super) struct Counter {
    calls: AtomicU64,
    rejections: AtomicU64,
}

/// The counters of the workspaces that were asked for anything lately.
#[derive(Debug, Default)]
pub(super) struct Counters {
    by_workspace: HashMap<WorkspaceId, Arc<Counter>>,
}

/// What is added to the row of an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) workspace: WorkspaceId,
    pub(super) calls: u64,
    pub(super) rejections: u64,
}

impl Counter {
    pub(super) fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rejection(&self) {
        self.rejections.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counters {
    /// Returns the counter of a workspace that a token has named.
    pub(super) fn of(&mut self, workspace: &WorkspaceId) -> &Arc<Counter> {
        self.by_workspace.entry(*workspace).or_default()
    }

    /// Returns the counter of a workspace that anybody may have named; none if there are too many.
    pub(super) fn of_stranger(&mut self, workspace: &WorkspaceId) -> Option<&Arc<Counter>> {
        let has_room = self.by_workspace.len() < MAX_STRANGERS;
        (has_room || self.by_workspace.contains_key(workspace)).then(|| self.of(workspace))
    }

    /// Counts again what could not be written, in whatever hour that comes about.
    pub(super) fn put_back(&mut self, counted: &Counted) {
        if let Some(counter) = self.of_stranger(&counted.workspace) {
            counter.calls.fetch_add(counted.calls, Ordering::Relaxed);
            counter
                .rejections
                .fetch_add(counted.rejections, Ordering::Relaxed);
        }
    }

    /// Takes what was counted, and forgets whom nobody holds.
    pub(super) fn take(&mut self) -> Vec<Counted> {
        let mut counted = Vec::new();
        self.by_workspace.retain(|workspace, counter| {
            let (calls, rejections) = (
                counter.calls.swap(0, Ordering::Relaxed),
                counter.rejections.swap(0, Ordering::Relaxed),
            );
            if calls + rejections > 0 {
                counted.push(Counted {
                    workspace: *workspace,
                    calls,
                    rejections,
                });
            }
            // A count that comes in between stays with whoever holds it, until the next time.
            Arc::strong_count(counter) > 1
        });
        counted
    }
}

/// What strangers can make the server remember until the next flush.
const MAX_STRANGERS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_taken_once_and_strangers_forgotten() {
        let (mut counters, acme) = (Counters::default(), "acme".parse().unwrap());
        let held = Arc::clone(counters.of(&acme));
        held.call();
        counters.of(&"other".parse().unwrap()).rejection();
        assert_eq!(counters.take().len(), 2);
        assert_eq!(counters.take(), []);
        assert_eq!(counters.by_workspace.len(), 1);
        held.call();
        assert_eq!(counters.take()[0].calls, 1);
    }

    #[test]
    fn strangers_fill_no_memory() {
        let mut counters = Counters::default();
        for number in 0..2 * MAX_STRANGERS {
            let workspace = format!("w{number}").parse().unwrap();
            if let Some(counter) = counters.of_stranger(&workspace) {
                counter.rejection();
            }
        }
        assert_eq!(counters.by_workspace.len(), MAX_STRANGERS);
    }
}
