//! A cell whose slot is gone begins a new life for another slot, while somebody has a hold of the old one.

use loom::thread;

use crate::{
    explore::{Explored, explore},
    liveness::{Cell, Hold},
    sync::{Arc, AtomicU64, Ordering, leaked},
};

/// What a hold asks of its cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Whether generation and life are its own (`Hold::is_live`).
    Library,
    /// Broken: whether the generation is.
    GenerationAlone,
}

/// *Once the cell serves another slot, no hold of the first is live, whatever generation that has reached.*
pub fn no_hold_outlives_its_life(protocol: Protocol) -> Explored {
    explore(move || {
        let cell = leaked(Cell::new());
        cell.observe(1);
        let hold = cell.hold(1);
        let serves_another = Arc::new(AtomicU64::new(0));
        let next = {
            let serves_another = Arc::clone(&serves_another);
            thread::spawn(move || {
                cell.begin_new_life();
                cell.observe(1);
                serves_another.store(1, Ordering::SeqCst);
            })
        };
        let is_too_late = serves_another.load(Ordering::SeqCst) == 1;
        let is_right = !(is_too_late && is_live(protocol, cell, &hold));
        next.join().unwrap();
        is_right && !is_live(protocol, cell, &hold)
    })
}

fn is_live(protocol: Protocol, cell: &Cell, hold: &Hold) -> bool {
    match protocol {
        Protocol::Library => hold.is_live(),
        Protocol::GenerationAlone => cell.generation() == 1,
    }
}
