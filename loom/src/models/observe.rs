//! Two rotations whose reports come in any order, while somebody looks.

use loom::thread;

use crate::{
    explore::{Explored, explore},
    liveness::Cell,
    sync::{Arc, AtomicU64, Mutex, Ordering, leaked},
};

/// How a cell takes a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `Cell::observe`: the greater of the two stays.
    Library,
    /// Broken: what is reported last stays.
    PlainStore,
}

/// *The generation of a cell never falls, whatever order the reports come in, and ends at the last one.*
pub fn generation_never_falls(protocol: Protocol) -> Explored {
    explore(move || {
        let row = Arc::new(Mutex::new(1));
        let cell = Arc::new(Reported::new(protocol));
        let rotations = [(); 2].map(|()| {
            let (row, cell) = (Arc::clone(&row), Arc::clone(&cell));
            thread::spawn(move || {
                let committed = commit(&row);
                // Not under the row's lock: the reports overtake each other.
                cell.observe(committed);
            })
        });
        let (earlier, later) = (cell.generation(), cell.generation());
        for rotation in rotations {
            rotation.join().unwrap();
        }
        earlier <= later && later <= cell.generation() && cell.generation() == 3
    })
}

fn commit(row: &Mutex<u64>) -> u64 {
    let mut generation = row.lock().unwrap();
    *generation += 1;
    *generation
}

/// A cell, and a broken one.
pub(super) enum Reported {
    Library(&'static Cell),
    PlainStore(AtomicU64),
}

impl Reported {
    pub(super) fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Library => Self::Library(leaked(Cell::new())),
            Protocol::PlainStore => Self::PlainStore(AtomicU64::new(0)),
        }
    }

    pub(super) fn observe(&self, generation: u64) {
        match self {
            Self::Library(cell) => drop(cell.observe(generation)),
            Self::PlainStore(cell) => cell.store(generation, Ordering::SeqCst),
        }
    }

    pub(super) fn generation(&self) -> u64 {
        match self {
            Self::Library(cell) => cell.generation(),
            Self::PlainStore(cell) => cell.load(Ordering::SeqCst),
        }
    }

    /// `Hold::is_live`.
    pub(super) fn is_live(&self, generation: u64) -> bool {
        match self {
            Self::Library(cell) => cell.hold(generation).is_live(),
            Self::PlainStore(_) => self.generation() == generation,
        }
    }
}
