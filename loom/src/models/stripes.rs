//! What a rotation may conclude from an empty stripe of the gate, whoever counts in it.

use std::array;

use loom::thread;

use crate::{
    explore::{Explored, explore},
    gate::{Polls, Seat, Stripe},
    liveness::{Cell, Hold},
    sync::{Arc, AtomicU64, Ordering, leaked},
};

/// What two threads in one stripe take it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// For shared.
    Library,
    /// Broken: each for its own.
    BothOwn,
}

/// When a poll writes what the rotation is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Before it leaves.
    Library,
    /// Broken: after it left.
    AfterLeaving,
}

/// *Once a rotation has seen every stripe empty, no poll of the old generation runs; and once all have
/// left, every stripe is empty.*
pub fn a_stripe_is_empty_when_nobody_is_in_it(protocol: Protocol) -> Explored {
    let seat = match protocol {
        Protocol::Library => Seat::Shared(1),
        Protocol::BothOwn => Seat::Own(0),
    };
    explore(move || {
        let process = Arc::new(Process::new());
        let hold = process.cell.hold(OLD);
        let polls = [0, 1].map(|_| {
            let process = Arc::clone(&process);
            thread::spawn(move || process.poll(seat, &hold))
        });
        process.rotate();
        let all_ran_in_time = polls.map(|poll| poll.join().unwrap()) == [true; 2];
        all_ran_in_time && process.are_all_empty()
    })
}

/// *Once a rotation has seen every stripe empty, it sees what the polls of the old generation wrote.*
pub fn what_a_poll_wrote_is_seen_by_the_rotation(write: Write) -> Explored {
    explore(move || {
        let process = Arc::new(Process::new());
        let hold = process.cell.hold(OLD);
        let poll = {
            let process = Arc::clone(&process);
            thread::spawn(move || process.poll_and_write(write, &hold))
        };
        process.rotate();
        let has_returned = process.has_returned.load(Ordering::SeqCst) == 1;
        let seen = process.written.load(Ordering::Relaxed) == 1;
        let has_written = poll.join().unwrap();
        !has_returned || seen == has_written
    })
}

const OLD: u64 = 1;
const NEW: u64 = 2;

struct Process {
    polls: Polls<2>,
    cell: &'static Cell,
    has_returned: AtomicU64,
    written: AtomicU64,
}

impl Process {
    fn new() -> Self {
        let cell = leaked(Cell::new());
        cell.observe(OLD);
        Self {
            polls: Polls::new(array::from_fn(|_| Stripe::new(AtomicU64::new(0)))),
            cell,
            has_returned: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    fn rotate(&self) {
        self.cell.observe(NEW);
        if self.are_all_empty() {
            self.has_returned.store(1, Ordering::SeqCst);
        }
    }

    fn are_all_empty(&self) -> bool {
        self.polls.settle(&mut self.polls.outstanding())
    }

    /// Returns whether the rotation had not returned when inner code ran, if it did.
    fn poll(&self, seat: Seat, hold: &Hold) -> bool {
        let _poll = self.polls.enter(seat);
        !hold.is_live() || self.has_returned.load(Ordering::SeqCst) == 0
    }

    /// Returns whether it was let through, and wrote.
    fn poll_and_write(&self, write: Write, hold: &Hold) -> bool {
        let poll = self.polls.enter(Seat::Own(0));
        let is_live = hold.is_live();
        if write == Write::AfterLeaving {
            drop(poll);
        }
        if is_live {
            self.written.store(1, Ordering::Relaxed);
        }
        is_live
    }
}
