//! Several real `wst` on one PostgreSQL database: what is promised of rotations on all of them, whatever breaks between them.
//!
//! The database is a cluster of the test's own, and each node reaches it through a [proxy](proxy) that the test can break,
//! or, where the system lets it, one node in a network [namespace] through packets that the test can drop.
//! [`checker`] asks every node all the time, with the old token and with the new one, and keeps when each question was sent and
//! how it was answered; [`faults`] breaks something, rotates, and judges the answers. [`rolling`] has two nodes behind nginx.
//!
//! The tests take turns, since they measure. `WST_NODES_SECONDS` (30) is how long faults go on at least, and
//! `WST_NODES_ROTATIONS` (50) how often a rotation without one is measured.

mod agent;
mod checker;
mod cluster;
#[path = "../crashes/client.rs"]
#[expect(dead_code, reason = "of it, these tests use the control socket")]
mod control;
mod faults;
mod figures;
mod namespace;
mod node;
mod proxy;
mod rolling;
mod streams;

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tower_workspace_token::clock::{Clock as _, Moment, SystemClock};

/// What every node trusts its memory for.
const LEASE: Duration = Duration::from_secs(1);

/// Returns the number in the variable `name`, or else `default`.
fn number(name: &str, default: u64) -> u64 {
    let said = std::env::var(name).ok();
    said.map_or(default, |said| said.parse().unwrap())
}

/// Returns how long this process has been measuring: all times here are such.
fn now() -> Duration {
    static START: OnceLock<Moment> = OnceLock::new();
    let start = *START.get_or_init(|| SystemClock.moment());
    SystemClock.moment().saturating_since(start)
}

/// Keeps the other tests waiting while it is held.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns how far `time` is after `origin` in milliseconds; negative if it is before.
fn after(time: Duration, origin: Duration) -> f64 {
    (time.as_secs_f64() - origin.as_secs_f64()) * 1000.0
}

fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

/// Returns a time of up to `most` that nobody knows beforehand.
fn random(most: Duration) -> Duration {
    most.mul_f64(fastrand::f64())
}

/// Waits until something holds, which it has to within `patience`.
#[track_caller]
fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let start = now();
    while !holds() {
        assert!(now() - start < patience, "{what}: not within {patience:?}");
        sleep(Duration::from_millis(10));
    }
}
