//! The lease protocol of nodes that share one database (`docs/leases.md`), in every order of its steps and
//! of what the world does to it: every state that can be reached is visited, by breadth, with `stateright`.
//!
//! ```sh
//! cargo test --release --manifest-path model/Cargo.toml -- --nocapture --test-threads 1
//! cargo run --release --manifest-path model/Cargo.toml --example explore -- rotations=2 beat=1   # larger
//! ```
//!
//! | step of the model | in the protocol | in the code |
//! |---|---|---|
//! | `Register` | connect, `LISTEN`, row in `wst_nodes`, durably | `stores/postgres`, the feed |
//! | `Beat` | the beat is moved, or finds no row | the feed |
//! | `Ask`, `Answer`, or both in `Look` | `as_of`, then the one statement in one snapshot | the feed; `clock.rs` |
//! | `Report` | `changed`, `resync`, `confirmed`, then the acknowledgement | the feed; `ChangeObserver` in `src/store/mod.rs` |
//! | `ReadBegin`, `ReadEnd`, `ReadThrough` | a check reads the store | `Inner::settle` in `src/authority/verify.rs` |
//! | what memory accepts in a state | `remembers`, and `confirmed` younger than a lease | `Inner::is_fresh`, the same file |
//! | `RotateBegin`, `Commit`, `Abort` | the one statement of a rotation | `compare_and_swap` in `stores/postgres` |
//! | `Learn` | a commit whose answer was lost is read back | `src/authority/rotate.rs` |
//! | `Return` | every other row acknowledges it, or a lease has passed | `Inner::finish` in `src/authority/rotate.rs`, the waiting task of `stores/postgres` |
//! | `Delete` | the janitor | `stores/postgres` |
//! | `Disconnect`, `CrashNode`, `CrashDatabase`, `ForeignBegin`, `ForeignEnd`, `Tick` | the world | |
//!
//! A step that can be taken need not be taken, so a pause of a node (its clock goes on), a partition and a
//! lost or late notification need no step: a look may begin at any time, and none has to. A notification
//! that comes twice is two looks.
//!
//! Time is in ticks, and memory is trusted for ages *below* a lease: in a model `as_of`, a commit and its
//! answer can be of one tick, which real clocks that count nanoseconds do not see across a network.
//!
//! # What is not modelled
//! Clocks that drift, a clock that stops while its machine sleeps, failover to another primary, restores of
//! the database, transactions of two rotations that wait for one row (compare-and-swap lets one commit),
//! what is held and not checked (streams, running calls), and the cell's own atomics, which are loom's.

#![forbid(unsafe_code)]

pub mod explore;
mod properties;
mod reduce;
pub mod state;
pub mod step;
pub mod variant;

use stateright::{Model, Property};

use state::{Age, Generation, State, Xid};
use step::Step;
use variant::Broken;

/// How much is explored.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nodes.
    pub nodes: usize,
    /// Rotations whose old generation is still held, or waited for; two at most. When one is over, there may be another.
    pub rotations: Generation,
    /// Ticks of a lease.
    pub lease: Age,
    /// How old the last beat may be when a look begins that confirms.
    pub beat: Age,
    /// How long a beat stands still before a janitor deletes the row: `beat + lease` at least.
    pub patience: Age,
    /// Reads of the store that may be under way at once, over all nodes.
    pub reads: usize,
    /// Transaction ids in use at once.
    pub xids: Xid,
    /// Whether time may pass, and rotations commit, between `as_of` and the snapshot.
    pub ask_apart: bool,
    /// Whether there are transactions of others.
    pub foreign: bool,
    /// Whether states that differ in what cannot matter are one.
    pub reduced: bool,
    /// Whether every state is healed.
    pub healing: bool,
}

impl Limits {
    /// A lease of two ticks, and little else.
    pub const SMALL: Self = Self {
        nodes: 2,
        rotations: 1,
        lease: 2,
        beat: 0,
        patience: 2,
        reads: 1,
        xids: 5,
        ask_apart: false,
        foreign: true,
        reduced: true,
        healing: false,
    };
}

/// The protocol, whole or with one rule broken.
#[derive(Clone, Copy, Debug)]
pub struct LeaseModel {
    /// How much is explored.
    pub limits: Limits,
    /// What is broken.
    pub broken: Broken,
}

impl Model for LeaseModel {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::initial(&self.limits)]
    }

    fn actions(&self, _: &State, steps: &mut Vec<Step>) {
        self.steps(steps);
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = *last;
        self.take(&mut state, step)?;
        self.reduce(&mut state);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.invariants()
    }
}
