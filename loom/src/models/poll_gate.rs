//! The gate that polls go through, beside a rotation that waits until the old generation is gone.

use std::{
    array,
    task::{Context, Waker},
};

use loom::thread;

use crate::{
    explore::{Explored, explore},
    gate::{Polls, Seat, Stripe},
    liveness::{Cell, Hold, Registration, Use},
    sync::{Arc, AtomicU64, Ordering, leaked, weak},
};

/// How a poll of a call goes (`poll_running` in the layer's future).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Enter, check, run, register if it has to wait, leave.
    Library,
    /// Broken: check, then enter.
    CheckBeforeEnter,
    /// Broken: leave, then register.
    RegisterAfterLeave,
    /// Broken: the library's order, with accesses that are not sequentially consistent.
    WeakAccesses,
}

/// *Once a rotation has raised the generation, seen every stripe empty and found nobody registered, no
/// poll of the old generation runs, and none of it registers.*
pub fn nothing_of_the_old_generation_is_left(protocol: Protocol) -> Explored {
    let explore = || {
        explore(move || {
            let process = Arc::new(Process::new());
            let hold = process.cell.hold(OLD);
            let call = {
                let process = Arc::clone(&process);
                thread::spawn(move || process.call(protocol, &hold))
            };
            process.rotate();
            call.join().unwrap()
        })
    };
    match protocol {
        Protocol::WeakAccesses => weak::accesses(explore),
        _ => explore(),
    }
}

const OLD: u64 = 1;
const NEW: u64 = 2;

struct Process {
    polls: Polls<2>,
    cell: &'static Cell,
    has_returned: AtomicU64,
}

impl Process {
    fn new() -> Self {
        let cell = leaked(Cell::new());
        cell.observe(OLD);
        Self {
            polls: Polls::new(array::from_fn(|_| Stripe::new(AtomicU64::new(0)))),
            cell,
            has_returned: AtomicU64::new(0),
        }
    }

    /// `Inner::rotate` from the commit on, with `drain`. It returns only in those interleavings in which
    /// it need not wait, which are all that matter.
    fn rotate(&self) {
        self.cell.observe(NEW);
        let mut outstanding = self.polls.outstanding();
        if !self.polls.settle(&mut outstanding) && !self.polls.settle(&mut outstanding) {
            return;
        }
        let mut nobody = Context::from_waker(Waker::noop());
        if self.cell.poll_drained(NEW, &mut nobody).is_ready() {
            self.has_returned.store(1, Ordering::SeqCst);
        }
    }

    /// A call that is polled twice; returns whether it did nothing after the rotation had returned.
    fn call(&self, protocol: Protocol, hold: &Hold) -> bool {
        let mut registration = None;
        let first = self.poll(protocol, hold, &mut registration);
        let second = self.poll(protocol, hold, &mut registration);
        first && second
    }

    fn poll(
        &self,
        protocol: Protocol,
        hold: &Hold,
        registration: &mut Option<Registration>,
    ) -> bool {
        let checked_before = protocol == Protocol::CheckBeforeEnter && hold.is_live();
        let poll = self.polls.enter(Seat::Own(0));
        let is_live = match protocol {
            Protocol::CheckBeforeEnter => checked_before,
            _ => hold.is_live(),
        };
        if !is_live {
            // It is answered and leaves.
            *registration = None;
            return true;
        }
        let ran_in_time = self.inner_code();
        if protocol == Protocol::RegisterAfterLeave {
            drop(poll);
            self.register(hold, registration);
            return ran_in_time && self.is_still_running();
        }
        self.register(hold, registration);
        ran_in_time && self.is_still_running()
    }

    /// Returns whether the rotation had not returned when inner code ran.
    fn inner_code(&self) -> bool {
        self.is_still_running()
    }

    fn register(&self, hold: &Hold, registration: &mut Option<Registration>) {
        registration.get_or_insert_with(|| hold.register(Use::Call, Waker::noop().clone()));
    }

    fn is_still_running(&self) -> bool {
        self.has_returned.load(Ordering::SeqCst) == 0
    }
}
