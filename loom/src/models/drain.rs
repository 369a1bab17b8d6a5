//! A rotation that waits for the last stream of the old generation, just as that leaves.

use std::task::{Context, Poll};

use loom::thread;

use super::woken::Woken;
use crate::{
    explore::{Explored, explore},
    liveness::{Cell, Use},
    sync::leaked,
};

/// How a stream leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// It drops its registration.
    Library,
    /// Broken: it says nothing.
    Silent,
}

/// *A rotation that waits for streams learns that the last one has left.*
pub fn the_last_to_leave_wakes_the_rotation(protocol: Protocol) -> Explored {
    explore(move || {
        let cell = leaked(Cell::new());
        cell.observe(1);
        let registrations = [(); 2].map(|()| {
            let nobody = std::task::Waker::noop().clone();
            cell.hold(1).register(Use::Stream, nobody)
        });
        cell.observe(2);
        let streams = registrations.map(|registration| {
            thread::spawn(move || match protocol {
                Protocol::Library => drop(registration),
                Protocol::Silent => std::mem::forget(registration),
            })
        });
        let is_told = wait_until_drained(cell);
        for stream in streams {
            stream.join().unwrap();
        }
        is_told()
    })
}

/// Asks twice, as a task does that is woken once; the last word is asked for when all have left.
fn wait_until_drained(cell: &'static Cell) -> impl FnOnce() -> bool {
    let (first, first_waker) = Woken::new();
    let mut is_drained = is_drained(cell, &first_waker);
    let (second, second_waker) = Woken::new();
    let asked_again = !is_drained && first.is_set();
    if asked_again {
        is_drained = self::is_drained(cell, &second_waker);
    }
    let last = if asked_again { second } else { first };
    move || is_drained || last.is_set()
}

fn is_drained(cell: &Cell, waker: &std::task::Waker) -> bool {
    cell.poll_drained(2, &mut Context::from_waker(waker)) == Poll::Ready(())
}
