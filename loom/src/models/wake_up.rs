//! A stream or a call that begins to wait just as its generation ends.

use std::task::Waker;

use loom::thread;

use super::woken::Woken;
use crate::{
    explore::{Explored, explore},
    liveness::{Cell, Hold, Use},
    sync::leaked,
};

/// How somebody who has to wait goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Register, then check (`poll_running` in the layer's future).
    Library,
    /// Registered from the start; put the waker in place, then check (`poll_while_live` in its body).
    LibraryBody,
    /// Broken: check, then register.
    CheckFirst,
    /// Broken: registered from the start; check, then put the waker in place.
    CheckFirstBody,
}

/// *Whoever waits under the old generation sees that it has ended, or is woken.*
pub fn no_wake_up_is_lost(protocol: Protocol) -> Explored {
    explore(move || {
        let cell = leaked(Cell::new());
        cell.observe(1);
        let hold = cell.hold(1);
        let (woken, waker) = Woken::new();
        let waiting = thread::spawn(move || wait(protocol, &hold, &waker));
        cell.observe(2);
        let knows = waiting.join().unwrap();
        knows || woken.is_set()
    })
}

/// Returns whether it was seen that the generation has ended.
fn wait(protocol: Protocol, hold: &Hold, waker: &Waker) -> bool {
    match protocol {
        Protocol::Library => {
            let registration = hold.register(Use::Call, waker.clone());
            let is_live = hold.is_live();
            // It goes on waiting: only the end of the model takes it away.
            std::mem::forget(registration);
            !is_live
        }
        Protocol::LibraryBody => {
            let registration = hold.register(Use::Stream, Waker::noop().clone());
            registration.rewake(waker);
            let is_live = hold.is_live();
            std::mem::forget(registration);
            !is_live
        }
        Protocol::CheckFirst => {
            let is_live = hold.is_live();
            std::mem::forget(hold.register(Use::Call, waker.clone()));
            !is_live
        }
        Protocol::CheckFirstBody => {
            let registration = hold.register(Use::Stream, Waker::noop().clone());
            let is_live = hold.is_live();
            registration.rewake(waker);
            std::mem::forget(registration);
            !is_live
        }
    }
}
