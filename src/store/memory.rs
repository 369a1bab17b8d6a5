//! A store in memory: for tests, examples, and applications that keep tokens elsewhere.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    ChangeObserver, Freshness, HistoryEvent, StoreError, StoreErrorKind, TokenRecord, TokenStore,
};
use crate::{
    clock::Timestamp,
    id::{Revision, SlotKey, WorkspaceId},
};

/// Keeps slots in memory; clones share them.
///
/// Nothing outlives the process. Changes are reported before the write is acknowledged, so several
/// authorities may share one store.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    slots: BTreeMap<SlotKey, Slot>,
    observers: Vec<ChangeObserver>,
}

#[derive(Debug)]
struct Slot {
    record: TokenRecord,
    history: Vec<HistoryEvent>,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn swap(
        &mut self,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Result<(), StoreError> {
        let key = next.key;
        let current = self.slots.get(&key).map(|slot| slot.record.revision);
        if current != expected {
            return Err(StoreError::new(StoreErrorKind::Conflict));
        }
        match self.slots.get_mut(&key) {
            Some(slot) => {
                slot.record = next;
                slot.history.extend(event);
            }
            None => {
                let history = event.into_iter().collect();
                self.slots.insert(
                    key,
                    Slot {
                        record: next,
                        history,
                    },
                );
            }
        }
        self.observers.retain(|observer| !observer.is_closed());
        Ok(())
    }
}

impl TokenStore for MemoryStore {
    async fn get(&self, key: &SlotKey) -> Result<Option<TokenRecord>, StoreError> {
        Ok(self.state().slots.get(key).map(|slot| slot.record.clone()))
    }

    async fn compare_and_swap(
        &self,
        _key: &SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Result<(), StoreError> {
        let (key, generation) = (next.key, next.generation);
        let observers = {
            let mut state = self.state();
            state.swap(expected, next, event)?;
            state.observers.clone()
        };
        // Reported without the lock, since an observer wakes tasks, and before the acknowledgement.
        for observer in observers {
            observer.changed(&key, generation);
        }
        Ok(())
    }

    async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<TokenRecord>, StoreError> {
        let state = self.state();
        let of_workspace = state
            .slots
            .values()
            .filter(|slot| slot.record.key.workspace == *workspace);
        Ok(of_workspace.map(|slot| slot.record.clone()).collect())
    }

    async fn history(&self, key: &SlotKey) -> Result<Vec<HistoryEvent>, StoreError> {
        Ok(self
            .state()
            .slots
            .get(key)
            .map(|slot| slot.history.clone())
            .unwrap_or_default())
    }

    async fn touch(&self, used: &[(SlotKey, Timestamp)]) -> Result<(), StoreError> {
        let mut state = self.state();
        for (key, at) in used {
            if let Some(slot) = state.slots.get_mut(key) {
                slot.record.last_used_at = slot.record.last_used_at.max(Some(*at));
            }
        }
        Ok(())
    }

    fn watch(&self, observer: ChangeObserver) -> Freshness {
        self.state().observers.push(observer);
        Freshness::Immediate
    }
}
