//! The rollback floor: a journal beside the store that notices when an old copy of it was put back.
//!
//! An old row is as genuine as the day it was written, so encryption says nothing about its age. A
//! [`RollbackJournal`] is a file, best on another volume, that holds which generation each slot has come to;
//! [`JournaledStore`] writes it and compares with it. A row below its floor locks its workspace: none of its
//! tokens is accepted, and nothing is written, until the right database is back or somebody
//! [unlocks](JournaledStore::unlock) it, which ends the tokens that were put back.
//!
//! ```
//! use tower_workspace_token::{
//!     Keys, MemoryStore, TokenAuthority,
//!     store::journal::{JournaledStore, RollbackJournal},
//! };
//!
//! # let folder = std::env::temp_dir().join(format!("journal-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("tokens.journal");
//! let store = MemoryStore::new();
//! let journal = match path.exists() {
//!     true => RollbackJournal::open(&path)?,
//!     false => RollbackJournal::create(&path)?,
//! };
//! // With a store that outlives the process: `journal.compare(row)` for each of its rows.
//! let store = JournaledStore::new(store, journal)?;
//! for workspace in store.locked() {
//!     eprintln!("{workspace} is locked: an old copy of the database was put back");
//! }
//! let authority = TokenAuthority::builder(store, Keys::generate()?).build()?;
//! # drop(authority);
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//! A rotation, revocation or issue is in the journal before it is acknowledged. The order is: the
//! store commits → checks refuse the old token → the journal is on the disk → the answer. A crash in between leaves a
//! row *above* its floor, which is as it should be: the journal catches up when the row is next looked at.
//! Where the journal cannot be written, the change that finds this out is answered with an error, though it has happened;
//! those after it are refused before anything is changed.
//!
//! # What is not
//! Calls and streams that are open go on where rows are put back under a running process; checks refuse.
//! A disk that fails in the midst of a sync may lose what the journal was about to hold, and nobody was told of.
//! Whoever can put back the journal along with the store is not noticed: hence the other volume. Data of the
//! application beside the rows (tasks, messages) is not looked at.

mod error;
mod file;
mod floors;
mod writer;

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

pub use error::{JournalError, JournalErrorKind};
use file::{JournalFile, LARGEST_BATCH};
pub use floors::SlotReached;
use floors::{Fingerprint, Floors};
use writer::Writer;

use super::{
    ChangeObserver, Freshness, HistoryEvent, HistoryEventKind, StoreError, StoreErrorKind,
    TokenRecord, TokenStore,
};
use crate::{
    clock::Timestamp,
    id::{Generation, Revision, SlotKey, WorkspaceId},
};

/// A file that holds which generation each slot has come to.
///
/// While it is open, no other process opens it.
#[derive(Debug)]
pub struct RollbackJournal {
    file: JournalFile,
    floors: Floors,
    /// Slots whose row is not below its floor.
    reached: HashSet<Fingerprint>,
    /// Rows above their floor, to be written.
    ahead: Vec<SlotReached>,
}

/// A store that locks the workspaces whose rows are older than a [`RollbackJournal`] says. Clones share all.
#[derive(Clone, Debug)]
pub struct JournaledStore<S> {
    inner: Arc<Inner<S>>,
}

#[derive(Debug)]
struct Inner<S> {
    store: S,
    floors: Arc<RwLock<Floors>>,
    locked: Mutex<Locked>,
    observers: Mutex<Vec<ChangeObserver>>,
    writer: Writer,
}

/// The slots that were put back, by workspace, each with the floor that it is below of.
type Locked = BTreeMap<WorkspaceId, Vec<SlotReached>>;

impl RollbackJournal {
    /// Opens the journal at `path`.
    ///
    /// # Errors
    /// There is none, it is damaged, another process uses it, or it can't be read and written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        let mut floors = Floors::default();
        let file = JournalFile::open(path.as_ref(), |slot| floors.raise(&slot))?;
        Ok(Self::new(file, floors))
    }

    /// Makes an empty journal at `path`, readable and writable by its owner alone.
    ///
    /// # Errors
    /// There is a file already, or it can't be written.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        let file = JournalFile::create(path.as_ref())?;
        Ok(Self::new(file, Floors::default()))
    }

    fn new(file: JournalFile, floors: Floors) -> Self {
        Self {
            file,
            floors,
            reached: HashSet::new(),
            ahead: Vec::new(),
        }
    }

    /// Returns what no other journal is called: 32 hexadecimal digits. Keep it with the database, so that
    /// the journal of another one is noticed.
    pub fn id(&self) -> &str {
        self.file.id()
    }

    /// Returns how many bytes were cut off when it was opened: what a power failure, or a process that was killed,
    /// left of a batch that nobody was told of. Not 0 after anything else is a damage.
    pub fn cut_off(&self) -> u64 {
        self.file.cut_off()
    }

    /// Returns which generation a slot has come to, as far as the journal knows.
    pub fn floor(&self, key: &SlotKey) -> Option<SlotReached> {
        self.floors.of(key)
    }

    /// Shows `each` slot, with the generation that it has come to.
    ///
    /// # Errors
    /// The file can't be read any longer.
    pub fn for_each(&mut self, mut each: impl FnMut(SlotReached)) -> Result<(), JournalError> {
        let floors = &self.floors;
        self.file.read_again(|slot| {
            if is_floor(floors, &slot) {
                each(slot);
            }
        })
    }

    /// Compares a row of the store with its floor. To be called for every row before
    /// [`JournaledStore::new`]: a slot whose row was not shown counts as one whose row is gone.
    ///
    /// # Errors
    /// A row is not in the journal yet, and can't be written to it.
    pub fn compare(&mut self, row: SlotReached) -> Result<(), JournalError> {
        let floor = self.floors.of(&row.key).map(|floor| floor.generation);
        if floor > Some(row.generation) {
            return Ok(());
        }
        self.reached.insert(self.floors.fingerprint(&row.key));
        if floor < Some(row.generation) {
            self.ahead.push(row);
        }
        if self.ahead.len() >= LARGEST_BATCH {
            self.catch_up()?;
        }
        Ok(())
    }

    fn catch_up(&mut self) -> Result<(), JournalError> {
        self.file.append(&self.ahead)?;
        for slot in self.ahead.drain(..) {
            self.floors.raise(&slot);
        }
        Ok(())
    }

    /// Finds the slots whose rows are below their floors, or gone.
    fn put_back(&mut self) -> Result<Locked, JournalError> {
        let below = self.floors.others_than(&self.reached);
        let mut locked = Locked::new();
        if !below.is_empty() {
            let floors = &self.floors;
            self.file.read_again(|slot| {
                if is_floor(floors, &slot) && below.contains(&floors.fingerprint(&slot.key)) {
                    note(&mut locked, slot);
                }
            })?;
        }
        Ok(locked)
    }

    /// Drops what later lines have made worthless, once it is most of the file.
    fn compact(self) -> Result<Self, JournalError> {
        let slots = self.floors.len() as u64;
        if self.file.lines() < 4 * slots + 4096 {
            return Ok(self);
        }
        let Self { file, floors, .. } = self;
        let file = file.rewrite(|slot| is_floor(&floors, slot))?;
        Ok(Self::new(file, floors))
    }
}

/// Returns whether a line is the last one of its slot.
fn is_floor(floors: &Floors, slot: &SlotReached) -> bool {
    floors.of(&slot.key).is_some_and(|floor| floor == *slot)
}

fn note(locked: &mut Locked, floor: SlotReached) {
    let slots = locked.entry(floor.key.workspace).or_default();
    if !slots.iter().any(|slot| slot.key == floor.key) {
        slots.push(floor);
    }
}

impl<S> JournaledStore<S> {
    /// Puts `store` under the watch of `journal`, which has [compared](RollbackJournal::compare) its rows.
    ///
    /// # Errors
    /// The journal can't be read or written.
    pub fn new(store: S, mut journal: RollbackJournal) -> Result<Self, JournalError> {
        journal.catch_up()?;
        let locked = journal.put_back()?;
        let RollbackJournal { file, floors, .. } = journal.compact()?;
        let floors = Arc::new(RwLock::new(floors));
        let inner = Inner {
            store,
            writer: Writer::start(file, Arc::clone(&floors))?,
            floors,
            locked: Mutex::new(locked),
            observers: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Returns the workspaces that are locked.
    pub fn locked(&self) -> Vec<WorkspaceId> {
        self.inner.locked().keys().copied().collect()
    }

    /// Returns whether a workspace is locked.
    pub fn is_locked(&self, workspace: &WorkspaceId) -> bool {
        self.inner.locked().contains_key(workspace)
    }
}

impl<S: TokenStore> JournaledStore<S> {
    /// Unlocks a workspace for good: each token that was put back ends, under a tombstone of the generation after its
    /// floor; the workspace's other tokens are accepted again. Returns how many slots were put back.
    ///
    /// Before that, think of putting the right database back, which unlocks without ending anything.
    /// `actor` goes into the slots' histories.
    ///
    /// # Errors
    /// The store or the journal failed; the workspace stays locked, and unlocking may be tried again.
    pub async fn unlock(
        &self,
        workspace: &WorkspaceId,
        now: Timestamp,
        actor: Option<&str>,
    ) -> Result<usize, StoreError> {
        let slots = self.inner.locked().get(workspace).cloned();
        let slots = slots.unwrap_or_default();
        for floor in &slots {
            self.inner.end(floor, now, actor).await?;
        }
        self.inner.locked().remove(workspace);
        Ok(slots.len())
    }
}

impl<S> Inner<S> {
    fn locked(&self) -> MutexGuard<'_, Locked> {
        // No code panics while it holds the lock half-way through a change.
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse_if_locked(&self, workspace: &WorkspaceId) -> Result<(), StoreError> {
        match self.locked().contains_key(workspace) {
            true => Err(StoreError::new(StoreErrorKind::Locked)),
            false => Ok(()),
        }
    }

    /// Tells those who watch the store.
    fn observers(&self, tell: impl Fn(&ChangeObserver)) {
        let mut observers = self
            .observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        observers.retain(|observer| !observer.is_closed());
        let observers = observers.clone();
        // Without the lock, since an observer wakes tasks.
        observers.iter().for_each(tell);
    }

    fn floor(&self, key: &SlotKey) -> Option<SlotReached> {
        let floors = self.floors.read().unwrap_or_else(PoisonError::into_inner);
        floors.of(key)
    }

    /// Refuses a row that is below a floor, and locks its workspace.
    fn refuse_if_below(
        &self,
        floor: Option<SlotReached>,
        reached: Option<Generation>,
    ) -> Result<(), StoreError> {
        match floor {
            Some(floor) if reached < Some(floor.generation) => {
                note(&mut self.locked(), floor);
                // What is remembered of its other slots is read anew, and refused.
                self.observers(ChangeObserver::resync);
                Err(StoreError::new(StoreErrorKind::Locked))
            }
            _ => Ok(()),
        }
    }
}

impl<S: TokenStore> Inner<S> {
    /// Ends a token that was put back.
    async fn end(
        &self,
        floor: &SlotReached,
        now: Timestamp,
        actor: Option<&str>,
    ) -> Result<(), StoreError> {
        let exhausted = || StoreError::new(StoreErrorKind::Corrupt);
        let record = self.store.get(&floor.key).await?;
        if record
            .as_ref()
            .is_some_and(|record| record.generation >= floor.generation)
        {
            return Ok(());
        }
        let expected = record.map(|record| record.revision);
        let revision = match expected {
            None => Revision::FIRST,
            Some(revision) => revision.next().ok_or_else(exhausted)?,
        };
        let generation = floor.generation.next().ok_or_else(exhausted)?;
        let next = TokenRecord::tombstone(floor.key, revision, generation, floor.token_id, now);
        let mut event =
            HistoryEvent::new(HistoryEventKind::Revoked, generation, floor.token_id, now);
        event.actor = actor.map(str::to_owned);
        event.reason = Some("an old copy of the database was put back".to_owned());
        let row = SlotReached::new(floor.key, generation, floor.token_id);
        self.store
            .compare_and_swap(&floor.key, expected, next, Some(event))
            .await?;
        self.write(row, StoreErrorKind::Ambiguous).await
    }

    /// Sees to it that the journal holds all that has happened.
    async fn catch_up(&self) -> Result<(), StoreError> {
        let caught_up = self.writer.catch_up().await;
        caught_up.map_err(|error| StoreError::with_source(StoreErrorKind::Unavailable, error))
    }

    /// Writes what a row has come to; `kind` is what a failure means to whoever waits.
    async fn write(&self, row: SlotReached, kind: StoreErrorKind) -> Result<(), StoreError> {
        let written = self.writer.append(row).await;
        written.map_err(|error| StoreError::with_source(kind, error))
    }
}

impl<S: TokenStore> TokenStore for JournaledStore<S> {
    async fn get(&self, key: &SlotKey) -> Result<Option<TokenRecord>, StoreError> {
        self.inner.refuse_if_locked(&key.workspace)?;
        // Before the read: a rotation that comes between raises the floor above what was read.
        let floor = self.inner.floor(key);
        let record = self.inner.store.get(key).await?;
        let row = record.as_ref().map(row_of);
        let reached = row.map(|row| row.generation);
        self.inner.refuse_if_below(floor, reached)?;
        // Another process wrote it, or a crash or a full disk came between the commit and the journal.
        if let Some(row) = row
            && rises(floor, row)
        {
            self.inner.write(row, StoreErrorKind::Unavailable).await?;
        }
        Ok(record)
    }

    async fn compare_and_swap(
        &self,
        key: &SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Result<(), StoreError> {
        self.inner.refuse_if_locked(&key.workspace)?;
        let (row, floor) = (row_of(&next), self.inner.floor(key));
        if floor.is_some_and(|floor| row.generation < floor.generation) {
            // Whoever asks for it saw a row of before, if it is not the row itself that is.
            let record = self.inner.store.get(key).await?;
            let reached = record.map(|record| record.generation);
            self.inner.refuse_if_below(floor, reached)?;
            return Err(StoreError::new(StoreErrorKind::Conflict));
        }
        // Before anything is changed: whatever the journal cannot hold is not begun.
        self.inner.catch_up().await?;
        self.inner
            .store
            .compare_and_swap(key, expected, next, event)
            .await?;
        // The store may not have said so yet, and the journal takes its time.
        self.inner
            .observers(|observer| observer.changed(key, row.generation));
        if rises(floor, row) {
            // The row is written: whoever is told so now has to look at it again, which tries once more.
            self.inner.write(row, StoreErrorKind::Ambiguous).await?;
        }
        Ok(())
    }

    async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<TokenRecord>, StoreError> {
        // Nobody is told of a row that the journal could not hold.
        self.inner.catch_up().await?;
        self.inner.store.list(workspace).await
    }

    async fn history(&self, key: &SlotKey) -> Result<Vec<HistoryEvent>, StoreError> {
        self.inner.store.history(key).await
    }

    async fn touch(&self, used: &[(SlotKey, Timestamp)]) -> Result<(), StoreError> {
        self.inner.store.touch(used).await
    }

    fn watch(&self, observer: ChangeObserver) -> Freshness {
        let mut observers = self
            .inner
            .observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        observers.push(observer.clone());
        drop(observers);
        self.inner.store.watch(observer)
    }

    async fn acknowledged(&self, key: &SlotKey, generation: Generation) {
        self.inner.store.acknowledged(key, generation).await;
    }
}

/// Returns whether a row has come further than the journal knows.
fn rises(floor: Option<SlotReached>, row: SlotReached) -> bool {
    floor.is_none_or(|floor| floor.generation < row.generation)
}

fn row_of(record: &TokenRecord) -> SlotReached {
    SlotReached::new(record.key, record.generation, record.token_id)
}

#[cfg(test)]
mod tests;
