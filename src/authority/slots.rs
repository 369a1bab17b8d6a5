//! What an authority remembers of slots: a live cell each, and of a live token a keyed tag.
//!
//! A workspace's slots are one record, read without a lock and replaced as a whole. Memory is bounded by
//! the tokens that were ever issued or verified here: a slot is made only for a token whose MAC is right,
//! and is never dropped before the table, since a cell that somebody holds must stay the only one.

use std::{
    iter,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use papaya::{Compute, Operation};

use super::{
    liveness::{Cell, Hold},
    pool::{Pool, Reuse},
    read_mostly::{ReadMostlyMap, read_mostly_map},
};
use crate::{
    clock::Moment,
    id::{Generation, Revision, SlotKey, TokenId, TokenName, WorkspaceId},
    jwt::TokenTag,
};

/// The slots that this process has dealt with.
#[derive(Debug)]
pub(super) struct SlotTable {
    workspaces: ReadMostlyMap<WorkspaceId, Slots>,
    /// How often everything in memory was doubted at once.
    resyncs: AtomicU64,
}

/// The slots of one workspace. Hardly any has more than one, which then lies beside its key.
#[derive(Clone, Debug)]
struct Slots {
    first: KnownSlot,
    others: Box<[KnownSlot]>,
}

/// What is known of one slot at one time.
#[derive(Clone, Debug)]
pub(super) struct KnownSlot {
    pub(super) name: TokenName,
    state: &'static SlotState,
    pub(super) current: Option<Current>,
}

/// One slot, in the hand of whoever reads or writes its row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) key: SlotKey,
    state: &'static SlotState,
}

/// The part of a slot that changes in place.
#[derive(Debug, Default)]
struct SlotState {
    cell: Cell,
    /// How often what is remembered of this slot was doubted.
    doubts: AtomicU64,
    used: AtomicBool,
}

static STATES: Pool<SlotState> = Pool::new();

/// What was last read or written of a slot's row.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) revision: Revision,
    pub(super) generation: Generation,
    /// `None` for a tombstone.
    pub(super) token: Option<CurrentToken>,
    /// When the read or write began.
    pub(super) read_at: Moment,
    /// The doubts when the read or write began.
    pub(super) doubts: u64,
}

/// The live token of a slot.
#[derive(Debug)]
pub(super) struct CurrentToken {
    pub(super) tag: TokenTag,
    pub(super) id: TokenId,
    /// Whether the token was presented here and its MAC was found right.
    is_proven: AtomicBool,
}

impl Default for SlotTable {
    fn default() -> Self {
        Self {
            workspaces: read_mostly_map(),
            resyncs: AtomicU64::new(0),
        }
    }
}

impl SlotTable {
    /// Looks at the slots of `workspace` one after the other until `look` finds something.
    #[inline]
    pub(super) fn find<T>(
        &self,
        workspace: &WorkspaceId,
        mut look: impl FnMut(&KnownSlot) -> Option<T>,
    ) -> Option<T> {
        let workspaces = self.workspaces.pin();
        let slots = workspaces.get(workspace)?;
        look(&slots.first).or_else(|| slots.others.iter().find_map(look))
    }

    /// Looks at one slot.
    pub(super) fn look<T>(&self, key: &SlotKey, look: impl FnOnce(&KnownSlot) -> T) -> Option<T> {
        let workspaces = self.workspaces.pin();
        workspaces.get(&key.workspace)?.named(&key.name).map(look)
    }

    pub(super) fn get(&self, key: &SlotKey) -> Option<Slot> {
        self.look(key, |known| known.slot(key.workspace))
    }

    /// Returns the slot of `key`, and makes it if there is none. Called only for a `key` whose
    /// existence a MAC or this application vouches for.
    pub(super) fn get_or_create(&self, key: &SlotKey) -> Slot {
        if let Some(slot) = self.get(key) {
            return slot;
        }
        let new = KnownSlot {
            name: key.name,
            state: STATES.take(),
            current: None,
        };
        // Somebody else may have made it meanwhile: there must not be two.
        let workspaces = self.workspaces.pin();
        let computed = workspaces.compute(key.workspace, |entry| match entry {
            None => Operation::Insert(Slots::new(new.clone())),
            Some((_, slots)) if slots.named(&key.name).is_some() => Operation::Abort(()),
            Some((_, slots)) => Operation::Insert(slots.with(new.clone())),
        });
        if matches!(computed, Compute::Aborted(())) {
            STATES.give_back(new.state);
            drop(workspaces);
            return self.get(key).expect("a slot is never dropped");
        }
        new.slot(key.workspace)
    }

    /// Remembers what was read or written, unless something newer is remembered already.
    pub(super) fn remember(&self, slot: &Slot, read: Current) {
        let workspaces = self.workspaces.pin();
        workspaces.compute(slot.key.workspace, |entry| {
            let replaced = entry.and_then(|(_, slots)| slots.with_current(&slot.key.name, &read));
            match replaced {
                Some(slots) => Operation::Insert(slots),
                None => Operation::Abort(()),
            }
        });
    }

    /// Collects what `pick` wants of all slots.
    pub(super) fn collect<T>(&self, mut pick: impl FnMut(Slot) -> Option<T>) -> Vec<T> {
        let workspaces = self.workspaces.pin();
        let slots = workspaces.iter().flat_map(|(workspace, slots)| {
            let slots = slots.iter();
            slots.map(|known| known.slot(*workspace))
        });
        slots.filter_map(&mut pick).collect()
    }

    /// Returns the slots that something waits on: streams, calls, work.
    pub(super) fn in_use(&self) -> Vec<Slot> {
        self.collect(|slot| slot.cell().is_watched().then_some(slot))
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
        self.doubts(slot.state)
    }

    /// Returns whether nobody has doubted what is remembered of a slot since it was read.
    pub(super) fn is_undoubted(&self, known: &KnownSlot, current: &Current) -> bool {
        self.doubts(known.state) == current.doubts
    }

    fn doubts(&self, state: &SlotState) -> u64 {
        // Both only rise, so their sum stands still only if both do.
        state.doubts.load(Ordering::SeqCst) + self.resyncs.load(Ordering::SeqCst)
    }
}

impl Drop for SlotTable {
    fn drop(&mut self) {
        for slot in self.collect(Some) {
            STATES.give_back(slot.state);
        }
    }
}

impl Slots {
    fn new(first: KnownSlot) -> Self {
        Self {
            first,
            others: Box::default(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &KnownSlot> {
        iter::once(&self.first).chain(&self.others)
    }

    fn named(&self, name: &TokenName) -> Option<&KnownSlot> {
        self.iter().find(|known| known.name == *name)
    }

    fn with(&self, new: KnownSlot) -> Self {
        let others = self.others.iter().cloned().chain([new]);
        Self {
            first: self.first.clone(),
            others: others.collect(),
        }
    }

    /// Returns a copy that remembers `read`, unless something newer is remembered.
    fn with_current(&self, name: &TokenName, read: &Current) -> Option<Self> {
        let is_newer = self.named(name)?.current.as_ref().is_none_or(|known| {
            (known.revision, known.doubts, known.read_at)
                <= (read.revision, read.doubts, read.read_at)
        });
        if !is_newer {
            return None;
        }
        let mut copy = self.clone();
        iter::once(&mut copy.first)
            .chain(&mut copy.others)
            .filter(|known| known.name == *name)
            .for_each(|known| known.current = Some(read.clone()));
        Some(copy)
    }
}

impl KnownSlot {
    pub(super) fn slot(&self, workspace: WorkspaceId) -> Slot {
        Slot {
            key: SlotKey::new(workspace, self.name),
            state: self.state,
        }
    }

    pub(super) fn cell(&self) -> &'static Cell {
        &self.state.cell
    }

    /// Takes hold of the remembered token, unless it has ended, and notes its use.
    #[inline]
    pub(super) fn hold(&self, current: &Current) -> Option<Hold> {
        let hold = self.state.cell.hold(current.generation.number());
        hold.is_live().then(|| {
            self.state.mark_used();
            hold
        })
    }
}

impl Slot {
    pub(super) fn cell(&self) -> &'static Cell {
        &self.state.cell
    }

    /// Returns how often what is remembered of this slot alone was doubted.
    pub(super) fn doubts(&self) -> u64 {
        self.state.doubts.load(Ordering::SeqCst)
    }

    /// Doubts what is remembered: the next check reads the store.
    pub(super) fn doubt(&self) {
        self.state.doubts.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that the slot's token was used.
    pub(super) fn mark_used(&self) {
        self.state.mark_used();
    }

    /// Returns whether the token was used since the last call.
    pub(super) fn take_used(&self) -> bool {
        self.state.used.swap(false, Ordering::Relaxed)
    }
}

impl SlotState {
    fn mark_used(&self) {
        // Loaded first, so that the cache line is written once per flush and not once per request.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }
}

impl Reuse for SlotState {
    fn is_watched(&self) -> bool {
        self.cell.is_watched()
    }

    fn begin_new_life(&self) {
        self.cell.begin_new_life();
        self.doubts.store(0, Ordering::SeqCst);
        self.used.store(false, Ordering::Relaxed);
    }
}

impl CurrentToken {
    /// Remembers a token that was made here, and that nobody has presented yet.
    pub(super) fn issued(tag: TokenTag, id: TokenId) -> Self {
        Self {
            tag,
            id,
            is_proven: AtomicBool::new(false),
        }
    }

    /// Remembers a token whose MAC is right.
    pub(super) fn proven(tag: TokenTag, id: TokenId) -> Self {
        Self {
            is_proven: AtomicBool::new(true),
            ..Self::issued(tag, id)
        }
    }

    pub(super) fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Acquire)
    }

    /// Notes that the token's MAC is right.
    #[inline]
    pub(super) fn prove(&self) {
        // Loaded first: each request comes by here, and one alone has to write.
        if !self.is_proven() {
            self.is_proven.store(true, Ordering::Release);
        }
    }
}

impl Clone for CurrentToken {
    fn clone(&self) -> Self {
        Self {
            tag: self.tag,
            id: self.id,
            is_proven: AtomicBool::new(self.is_proven()),
        }
    }
}
