//! A check that has to read the store, beside a rotation here or in another process.

use loom::thread;

use super::observe::{self, Reported};
use crate::{
    explore::{Explored, explore},
    sync::{Arc, AtomicU64, Mutex, Ordering},
};

/// The order of steps of a cold check (`Inner::settle` in `verify.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Cell, read the store, observe, build the lease, ask the cell once more.
    Library,
    /// Broken: the cell is made after the store was read.
    CellAfterRead,
    /// Broken: nobody asks the cell once the lease is built.
    NoLastLook,
    /// Broken: the cell keeps what was reported last.
    PlainStore,
    /// Broken: a rotation marks what is remembered as revoked, and there is no cell.
    RevokedFlag,
}

/// *No check accepts the old token once `rotate` has returned, and neither does what it remembers.*
pub fn rotation_ends_the_old_token(protocol: Protocol) -> Explored {
    explore(move || {
        let process = Arc::new(Process::new(protocol));
        let rotation = {
            let process = Arc::clone(&process);
            thread::spawn(move || process.rotate())
        };
        let is_right = process.cold_check();
        rotation.join().unwrap();
        is_right && !process.warm_check()
    })
}

/// *A rotation by another process that is reported while a check reads the store is not lost.*
pub fn a_report_is_never_lost(protocol: Protocol) -> Explored {
    explore(move || {
        let process = Arc::new(Process::new(protocol));
        let other_process = {
            let process = Arc::clone(&process);
            thread::spawn(move || {
                process.commit();
                process.changed();
            })
        };
        process.cold_check();
        other_process.join().unwrap();
        !process.warm_check()
    })
}

const OLD: u64 = 1;
const NEW: u64 = 2;

/// A process that has not seen the slot yet, and the store.
struct Process {
    protocol: Protocol,
    /// The generation of the slot's row: reads and writes are linearizable.
    row: Mutex<u64>,
    /// `SlotTable`, of one slot.
    table: Mutex<Option<Arc<Reported>>>,
    /// `Slot::current`: the generation whose token is remembered.
    remembered: Mutex<Option<Remembered>>,
    has_returned: AtomicU64,
}

struct Remembered {
    cell: Option<Arc<Reported>>,
    is_revoked: bool,
}

impl Process {
    fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            row: Mutex::new(OLD),
            table: Mutex::new(None),
            remembered: Mutex::new(None),
            has_returned: AtomicU64::new(0),
        }
    }

    /// `Inner::rotate`, as far as a check can tell.
    fn rotate(&self) {
        if self.protocol == Protocol::RevokedFlag {
            self.commit();
            if let Some(remembered) = self.remembered.lock().unwrap().as_mut() {
                remembered.is_revoked = true;
            }
        } else {
            let cell = self.get_or_create();
            self.commit();
            cell.observe(NEW);
        }
        self.has_returned.store(1, Ordering::SeqCst);
    }

    fn commit(&self) {
        *self.row.lock().unwrap() = NEW;
    }

    /// `Memory::changed`: a slot that nobody asked about is made later, and then read from the store.
    fn changed(&self) {
        let known = self.table.lock().unwrap().clone();
        if let Some(cell) = known {
            cell.observe(NEW);
        }
    }

    /// Checks a token of the old generation; returns whether the answer was right.
    fn cold_check(&self) -> bool {
        match self.protocol {
            Protocol::Library | Protocol::PlainStore | Protocol::NoLastLook => {
                let cell = self.get_or_create();
                let row = *self.row.lock().unwrap();
                self.finish_check(row, cell)
            }
            Protocol::CellAfterRead => {
                let row = *self.row.lock().unwrap();
                let cell = self.get_or_create();
                self.finish_check(row, cell)
            }
            Protocol::RevokedFlag => {
                if *self.row.lock().unwrap() != OLD {
                    return true;
                }
                *self.remembered.lock().unwrap() = Some(Remembered {
                    cell: None,
                    is_revoked: false,
                });
                let is_too_late = self.has_returned();
                !(is_too_late && self.warm_check())
            }
        }
    }

    fn finish_check(&self, row: u64, cell: Arc<Reported>) -> bool {
        cell.observe(row);
        if row != OLD {
            return true;
        }
        *self.remembered.lock().unwrap() = Some(Remembered {
            cell: Some(Arc::clone(&cell)),
            is_revoked: false,
        });
        let is_too_late = self.has_returned();
        let is_accepted = self.protocol == Protocol::NoLastLook || cell.is_live(OLD);
        !(is_too_late && is_accepted)
    }

    /// `Inner::recall`: returns whether the old token is accepted out of memory.
    fn warm_check(&self) -> bool {
        let remembered = self.remembered.lock().unwrap();
        remembered.as_ref().is_some_and(|remembered| {
            let is_live = |cell: &Arc<Reported>| cell.is_live(OLD);
            !remembered.is_revoked && remembered.cell.as_ref().is_none_or(is_live)
        })
    }

    /// `SlotTable::get_or_create`.
    fn get_or_create(&self) -> Arc<Reported> {
        let cell_protocol = match self.protocol {
            Protocol::PlainStore => observe::Protocol::PlainStore,
            _ => observe::Protocol::Library,
        };
        let mut table = self.table.lock().unwrap();
        Arc::clone(table.get_or_insert_with(|| Arc::new(Reported::new(cell_protocol))))
    }

    fn has_returned(&self) -> bool {
        self.has_returned.load(Ordering::SeqCst) == 1
    }
}
