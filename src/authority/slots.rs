//! What an authority remembers of slots: a live cell each, and of a live token a keyed tag.
//!
//! Memory is bounded by the tokens that were ever verified here: a slot is made only for a token
//! whose MAC is right, and is never dropped, since a cell that somebody holds must stay the only one.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{lease::Lease, liveness::Cell};
use crate::{
    clock::Moment,
    id::{Revision, SlotKey, TokenName, WorkspaceId},
    jwt::TokenTag,
};

/// The slots that this process has dealt with.
#[derive(Debug, Default)]
pub(super) struct SlotTable {
    workspaces: RwLock<HashMap<WorkspaceId, Vec<Arc<Slot>>>>,
    /// How often everything in memory was doubted at once.
    resyncs: AtomicU64,
}

/// One slot.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: SlotKey,
    pub(super) cell: Arc<Cell>,
    current: RwLock<Option<Arc<Current>>>,
    /// How often what is remembered of this slot was doubted.
    doubts: AtomicU64,
    used: AtomicBool,
}

/// What was last read of a slot's row.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) revision: Revision,
    pub(super) generation: u64,
    /// `None` for a tombstone.
    pub(super) token: Option<CurrentToken>,
    /// When the read began.
    pub(super) read_at: Moment,
    /// The doubts when the read began.
    pub(super) doubts: u64,
}

/// The live token of a slot.
#[derive(Clone, Debug)]
pub(super) struct CurrentToken {
    pub(super) tag: TokenTag,
    pub(super) lease: Lease,
}

impl SlotTable {
    /// Looks at the slots of `workspace` one after the other until `look` finds something.
    pub(super) fn find<T>(
        &self,
        workspace: &WorkspaceId,
        look: impl FnMut(&Arc<Slot>) -> Option<T>,
    ) -> Option<T> {
        let workspaces = self
            .workspaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        workspaces.get(workspace)?.iter().find_map(look)
    }

    pub(super) fn get(&self, key: &SlotKey) -> Option<Arc<Slot>> {
        self.find(&key.workspace, |slot| {
            slot.has_name(&key.name).then(|| Arc::clone(slot))
        })
    }

    /// Returns the slot of `key`, and makes it if there is none. Called only for a `key` whose
    /// existence a MAC or this application vouches for.
    pub(super) fn get_or_create(&self, key: &SlotKey) -> Arc<Slot> {
        if let Some(slot) = self.get(key) {
            return slot;
        }
        let mut workspaces = self
            .workspaces
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let slots = workspaces.entry(key.workspace).or_default();
        if let Some(slot) = slots.iter().find(|slot| slot.has_name(&key.name)) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot::new(*key));
        slots.push(Arc::clone(&slot));
        slot
    }

    /// Collects what `pick` wants of all slots.
    pub(super) fn collect<T>(&self, pick: impl FnMut(&Arc<Slot>) -> Option<T>) -> Vec<T> {
        let workspaces = self
            .workspaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        workspaces.values().flatten().filter_map(pick).collect()
    }

    /// Doubts everything that is remembered.
    pub(super) fn doubt_all(&self) {
        self.resyncs.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns how often everything was doubted.
    pub(super) fn resyncs(&self) -> u64 {
        self.resyncs.load(Ordering::SeqCst)
    }

    /// Returns a number that rises whenever what is remembered of `slot` is doubted.
    pub(super) fn doubts_of(&self, slot: &Slot) -> u64 {
        // Both only rise, so their sum stands still only if both do.
        slot.doubts.load(Ordering::SeqCst) + self.resyncs.load(Ordering::SeqCst)
    }
}

impl Slot {
    fn new(key: SlotKey) -> Self {
        Self {
            key,
            cell: Arc::new(Cell::new()),
            current: RwLock::default(),
            doubts: AtomicU64::new(0),
            used: AtomicBool::new(false),
        }
    }

    fn has_name(&self, name: &TokenName) -> bool {
        self.key.name == *name
    }

    pub(super) fn current(&self) -> Option<Arc<Current>> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Remembers what was read, unless something newer is remembered already.
    pub(super) fn remember(&self, read: Current) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let is_newer = current.as_ref().is_none_or(|known| {
            (known.revision, known.doubts, known.read_at)
                <= (read.revision, read.doubts, read.read_at)
        });
        if is_newer {
            *current = Some(Arc::new(read));
        }
    }

    /// Doubts what is remembered: the next check reads the store.
    pub(super) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that the slot's token was used.
    pub(super) fn mark_used(&self) {
        // Loaded first, so that the cache line is written once per flush and not once per request.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Returns whether the token was used since the last call.
    pub(super) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}
