//! What can happen: each step of the protocol by its name in `docs/leases.md`, and what the world does to it.
//!
//! A step that can be taken need not be taken: so a node may be paused, or cut off from the database, at
//! any place and for any time, and needs no step for it.

use crate::{
    LeaseModel,
    state::{Generation, Look, Node, Read, Rotation, State},
    variant::Broken,
};

/// A step; a number is the place, in the state before, of the node that takes it: places change, since nodes
/// that are alike are not told apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The database takes the snapshot of a look that was asked.
    Answer(usize),
    /// A look begins: `as_of` is read.
    Ask(usize),
    /// The beat is moved, or finds no row.
    Beat(usize),
    /// The transaction of a rotation ends without a commit.
    Abort,
    /// The store is closed.
    Close(usize),
    /// The rotation commits; the answer arrives, or is late or lost.
    Commit {
        /// It arrives.
        answered: bool,
    },
    /// The process is killed and started again.
    CrashNode(usize),
    /// The database crashes and recovers.
    CrashDatabase {
        /// What was not flushed is lost.
        unflushed_lost: bool,
    },
    /// A janitor deletes the row.
    Delete(usize),
    /// The connection is lost or thrown away: a timeout, a partition.
    Disconnect(usize),
    /// A transaction of somebody else gets its id.
    ForeignBegin,
    /// It ends.
    ForeignEnd,
    /// The rotator reads whether its commit happened.
    Learn(usize),
    /// `as_of` and the snapshot at one instant, the latest that `as_of` may be.
    Look(usize),
    /// The node confirms what it has not asked.
    Presume(usize),
    /// A check reads the store, and its answer is there at once.
    ReadThrough(usize),
    /// A check asks the store.
    ReadBegin(usize),
    /// Its answer is there.
    ReadEnd(usize),
    /// Connected, and the row is there, durably.
    Register(usize),
    /// The answer of a look is reported, confirmed and acknowledged.
    Report(usize),
    /// `rotate` returns to its caller.
    Return(usize),
    /// The statement of a rotation is running.
    RotateBegin(usize),
    /// A tick.
    Tick,
}

impl LeaseModel {
    pub(crate) fn steps(&self, steps: &mut Vec<Step>) {
        steps.extend([
            Step::Tick,
            Step::Commit { answered: true },
            Step::Commit { answered: false },
            Step::Abort,
            Step::CrashDatabase {
                unflushed_lost: true,
            },
            Step::CrashDatabase {
                unflushed_lost: false,
            },
        ]);
        if self.limits.foreign {
            steps.extend([Step::ForeignBegin, Step::ForeignEnd]);
        }
        let present = 0..self.limits.nodes;
        for node in present {
            steps.extend(
                [
                    Step::Register,
                    Step::Beat,
                    Step::Report,
                    Step::ReadThrough,
                    Step::ReadBegin,
                    Step::ReadEnd,
                    Step::RotateBegin,
                    Step::Learn,
                    Step::Return,
                    Step::Delete,
                    Step::Disconnect,
                    Step::CrashNode,
                ]
                .map(|step| step(node)),
            );
            if self.limits.ask_apart {
                steps.extend([Step::Ask(node), Step::Answer(node)]);
            } else {
                steps.push(Step::Look(node));
            }
            match self.broken {
                Broken::ConfirmedBeforeReported | Broken::SilenceTrusted => {
                    steps.push(Step::Presume(node));
                }
                Broken::RowDeletedBeforeMemory => steps.push(Step::Close(node)),
                _ => {}
            }
        }
    }

    /// Takes `step`; `None` is that it cannot be taken now.
    pub(crate) fn take(&self, state: &mut State, step: Step) -> Option<()> {
        match step {
            Step::Abort => {
                state.database.rotating.take()?;
                end_begun(state);
            }
            Step::Answer(node) => self.answer(state, node)?,
            Step::Ask(node) => self.ask(state, node)?,
            Step::Beat(node) => self.beat(state, node)?,
            Step::Close(node) => {
                let node = &mut state.nodes[node];
                node.row.take()?;
                disconnect(node);
                node.look = Look::Idle;
            }
            Step::Commit { answered } => self.commit(state, answered)?,
            Step::CrashDatabase { unflushed_lost } => self.crash_database(state, unflushed_lost),
            Step::CrashNode(node) => {
                // Its row is of no use to anybody; that it is gone at once hides nothing, since rotators
                // would only wait for it.
                state.nodes[node] = Node::started(&self.limits);
            }
            Step::Delete(node) => {
                let node = &mut state.nodes[node];
                if node.beat < self.limits.patience {
                    return None;
                }
                node.row.take()?;
            }
            Step::Disconnect(node) => self.disconnect(&mut state.nodes[node])?,
            Step::ForeignBegin => {
                if state.database.foreign.is_some() || !self.has_xids(state) {
                    return None;
                }
                state.database.foreign = Some(state.database.begin());
            }
            Step::ForeignEnd => {
                let xid = state.database.foreign.take()?;
                if self.broken == Broken::PositionIsHighestSeen {
                    state.database.other_changed_in = xid;
                }
            }
            Step::Learn(node) => {
                let Rotation::Unanswered(generation) = state.nodes[node].rotation else {
                    return None;
                };
                let node = &mut state.nodes[node];
                self.observe(node, generation);
                node.rotation = Rotation::Waiting(generation, 0);
            }
            Step::Look(node) => {
                self.ask(state, node)?;
                self.answer(state, node)?;
            }
            Step::Presume(node) => self.presume(&mut state.nodes[node])?,
            Step::ReadBegin(node) => self.begin_read(state, node)?,
            Step::ReadEnd(node) => {
                let read = state.nodes[node].read?;
                self.end_read(state, node, read);
            }
            Step::ReadThrough(node) => {
                let read = Read {
                    generation: state.database.generation,
                    undoubted: true,
                };
                let other = state.nodes[node].read;
                self.end_read(state, node, read);
                state.nodes[node].read = other;
                if self.broken == Broken::ReadGivesALease {
                    state.nodes[node].confirmed = 0;
                }
            }
            Step::Register(node) => self.register(state, node)?,
            Step::Report(node) => self.report(&mut state.nodes[node])?,
            Step::Return(node) => self.return_to_caller(state, node)?,
            Step::RotateBegin(node) => self.begin_rotation(state, node)?,
            Step::Tick => state.tick(&self.limits),
        }
        Some(())
    }

    fn has_xids(&self, state: &State) -> bool {
        state.database.next <= self.limits.xids
    }

    // The feed of a node.

    fn register(&self, state: &mut State, node: usize) -> Option<()> {
        let (database, node) = (&state.database, &mut state.nodes[node]);
        if node.linked {
            return None;
        }
        node.linked = true;
        node.beat = 0;
        // One task does both: what came of an earlier connection is dropped with it.
        if self.broken != Broken::StaleAcknowledgement {
            node.look = Look::Idle;
        }
        if self.broken != Broken::RegisteredAfterTheLook {
            node.row = Some(0);
        }
        match self.broken {
            Broken::ReconnectsAtThePresent => node.position = Some(database.xmin()),
            Broken::ResyncBeforeTheQuestion => node.resync(),
            _ => {}
        }
        Some(())
    }

    fn beat(&self, state: &mut State, node: usize) -> Option<()> {
        let node = &mut state.nodes[node];
        if !node.linked {
            return None;
        }
        if node.row.is_some() || self.broken == Broken::DeletedRowIgnored {
            node.beat = 0;
        } else {
            disconnect(node);
        }
        Some(())
    }

    fn ask(&self, state: &mut State, node: usize) -> Option<()> {
        let node = &mut state.nodes[node];
        let may_confirm = match self.broken {
            Broken::LookWithoutBeat => true,
            Broken::RowSeenInsteadOfBeat => node.row.is_some(),
            _ => node.beat <= self.limits.beat,
        };
        if !node.linked || node.look != Look::Idle || !may_confirm {
            return None;
        }
        node.look = Look::Asked { as_of: 0 };
        Some(())
    }

    /// The one statement of a look, in one snapshot.
    fn answer(&self, state: &mut State, node: usize) -> Option<()> {
        let (database, node) = (&state.database, &mut state.nodes[node]);
        let Look::Asked { as_of } = node.look else {
            return None;
        };
        let xmin = database.xmin();
        let known = node.position.filter(|&position| {
            self.broken != Broken::PositionOutlivesConnection || xmin >= position
        });
        let changed_in = database.changed_in(database.generation);
        let is_reported = known.is_some_and(|position| changed_in >= position);
        let position = match self.broken {
            Broken::PositionIsHighestSeen => 1 + changed_in.max(database.other_changed_in),
            _ => xmin,
        };
        let snapshot = database.snapshot();
        if self.broken == Broken::AcknowledgedBeforeReported {
            node.row = node.row.map(|_| snapshot);
        }
        node.look = Look::Answered {
            as_of,
            reported: if is_reported { database.generation } else { 0 },
            position,
            snapshot,
            first: known.is_none(),
        };
        Some(())
    }

    /// Report, confirm, acknowledge. To acknowledge at once is the earliest, and so the worst.
    fn report(&self, node: &mut Node) -> Option<()> {
        let Look::Answered {
            as_of,
            reported,
            position,
            snapshot,
            first,
        } = node.look
        else {
            return None;
        };
        node.look = Look::Idle;
        if first && self.broken != Broken::ResyncBeforeTheQuestion {
            node.resync();
        }
        if node.cell > 0 || node.read.is_some() {
            self.observe(node, reported);
        }
        let as_of = match self.broken {
            Broken::AsOfAfterTheAnswer => 0,
            _ => as_of,
        };
        node.confirmed = node.confirmed.min(as_of);
        if node.linked {
            node.position = Some(position);
            self.acknowledge(node, snapshot);
        }
        Some(())
    }

    fn acknowledge(&self, node: &mut Node, snapshot: u8) {
        let inserts = self.broken == Broken::RegisteredAfterTheLook;
        if node.row.is_some() || inserts {
            node.row = Some(snapshot);
        } else if self.broken != Broken::DeletedRowIgnored {
            disconnect(node);
        }
    }

    fn disconnect(&self, node: &mut Node) -> Option<()> {
        if !node.linked {
            return None;
        }
        let position = node.position;
        disconnect(node);
        if matches!(node.look, Look::Asked { .. }) {
            node.look = Look::Idle;
        }
        if self.broken == Broken::PositionOutlivesConnection {
            node.position = position;
        }
        Some(())
    }

    /// What variants confirm without a look's report before it.
    fn presume(&self, node: &mut Node) -> Option<()> {
        let as_of = match (self.broken, node.look) {
            (Broken::ConfirmedBeforeReported, Look::Answered { as_of, .. }) => as_of,
            (Broken::SilenceTrusted, Look::Idle) => {
                let is_sure_of_its_row = node.linked && node.beat <= self.limits.beat;
                (is_sure_of_its_row && node.position.is_some()).then_some(0)?
            }
            _ => return None,
        };
        node.confirmed = node.confirmed.min(as_of);
        Some(())
    }

    // Checks.

    fn begin_read(&self, state: &mut State, node: usize) -> Option<()> {
        let under_way = state.nodes.iter().filter(|node| node.read.is_some());
        if state.nodes[node].read.is_some() || under_way.count() >= self.limits.reads {
            return None;
        }
        state.nodes[node].read = Some(Read {
            generation: state.database.generation,
            undoubted: true,
        });
        Some(())
    }

    fn end_read(&self, state: &mut State, node: usize, read: Read) {
        let node = &mut state.nodes[node];
        node.read = None;
        let had_seen = node.seen;
        self.observe(node, read.generation);
        if node.cell == read.generation {
            state.accepted_what_it_saw_dead |= read.generation < had_seen;
            node.remembers |= read.undoubted;
        }
    }

    fn observe(&self, node: &mut Node, generation: Generation) {
        let raised = match self.broken {
            Broken::PlainStore if generation > 0 => generation,
            _ => node.cell.max(generation),
        };
        if raised != node.cell {
            node.cell = raised;
            node.remembers = false;
        }
        node.seen = node.seen.max(generation);
    }

    // The rotator.

    fn begin_rotation(&self, state: &mut State, node: usize) -> Option<()> {
        let has_begun = |node: &Node| matches!(node.rotation, Rotation::Begun(_));
        if state.database.rotating.is_some()
            || state.nodes.iter().any(has_begun)
            || state.nodes[node].rotation != Rotation::Idle
            || state.database.generation > self.limits.rotations
            || !self.has_xids(state)
        {
            return None;
        }
        state.database.rotating = Some(state.database.begin());
        let next = state.database.generation + 1;
        let node = &mut state.nodes[node];
        node.rotation = Rotation::Begun(0);
        if self.broken == Broken::RaisedBeforeCommit {
            self.observe(node, next);
        }
        Some(())
    }

    /// Also of one whose process has died: the statement was sent.
    fn commit(&self, state: &mut State, answered: bool) -> Option<()> {
        let database = &mut state.database;
        let xid = database.rotating.take()?;
        database.changed_in[usize::from(database.generation) - 1] = xid;
        database.generation += 1;
        let generation = database.generation;
        let begun = state.nodes.iter_mut().find_map(|node| match node.rotation {
            Rotation::Begun(age) => Some((node, age)),
            _ => None,
        });
        let Some((rotator, age)) = begun else {
            // Nobody waits for an answer: one step says all.
            return (!answered).then_some(());
        };
        if !answered {
            rotator.rotation = Rotation::Unanswered(generation);
            return Some(());
        }
        self.observe(rotator, generation);
        // What was written is remembered.
        rotator.remembers = true;
        let waited = match self.broken {
            Broken::WaitedFromTheStart => age,
            _ => 0,
        };
        rotator.rotation = Rotation::Waiting(generation, waited);
        Some(())
    }

    fn return_to_caller(&self, state: &mut State, rotator: usize) -> Option<()> {
        let Rotation::Waiting(generation, waited) = state.nodes[rotator].rotation else {
            return None;
        };
        let changed_in = state.database.changed_in(generation);
        let others = state.nodes.iter().enumerate();
        let mut others = others.filter(|(other, _)| *other != rotator);
        let lease = match self.broken {
            Broken::WaitedLessThanALease => self.limits.lease - 1,
            Broken::NobodyWaitedFor => 0,
            _ => self.limits.lease,
        };
        // `pg_visible_in_snapshot(changed_in, acknowledged)`
        let is_visible = |acknowledged: u8| acknowledged & 1 << changed_in != 0;
        let all_have = others.all(|(_, other)| other.row.is_none_or(is_visible));
        if !all_have && waited < lease {
            return None;
        }
        state.nodes[rotator].rotation = Rotation::Idle;
        state.returned = state.returned.max(generation);
        Some(())
    }

    // The world.

    fn crash_database(&self, state: &mut State, unflushed_lost: bool) {
        state.database.rotating = None;
        state.database.foreign = None;
        end_begun(state);
        if unflushed_lost {
            self.lose_unflushed(state);
        }
        for node in &mut state.nodes {
            let _ = self.disconnect(node);
            // Whoever watches the beats has lost its connection, and begins anew.
            if node.row.is_some() {
                let keeps = self.broken == Broken::PatienceSpansACrash && unflushed_lost;
                node.beat = if keeps { self.limits.patience } else { 0 };
            }
        }
    }

    /// Beats, acknowledgements, and every transaction id above those that a durable commit has flushed.
    fn lose_unflushed(&self, state: &mut State) {
        let database = &mut state.database;
        if self.broken == Broken::CommitNotDurable && database.generation > 1 {
            database.generation -= 1;
            database.changed_in[usize::from(database.generation) - 1] = 0;
        }
        let [second, third] = database.changed_in;
        database.next = 1 + second.max(third).max(database.other_changed_in);
        for node in &mut state.nodes {
            node.row = match self.broken {
                Broken::RegistrationNotDurable => None,
                _ => node.row.map(|_| 0),
            };
        }
    }

    /// Returns whether, without further faults, a second round of the feeds brings everything in order.
    pub(crate) fn heals(&self, mut state: State) -> bool {
        let state = &mut state;
        let all = 0..self.limits.nodes;
        let _ = self.take(state, Step::ForeignEnd);
        let _ = self.take(state, Step::Commit { answered: false });
        for _ in 0..2 {
            for node in all.clone() {
                for step in [
                    Step::Learn,
                    Step::ReadEnd,
                    Step::Answer,
                    Step::Report,
                    Step::Beat,
                    Step::Register,
                    Step::Look,
                    Step::Report,
                    Step::ReadThrough,
                ] {
                    let _ = self.take(state, step(node));
                }
            }
        }
        for node in all {
            let _ = self.take(state, Step::Return(node));
        }
        let mut present = state.nodes.iter().filter(|node| !node.absent);
        present.all(|node| {
            self.accepts(node) == Some(state.database.generation) && node.rotation == Rotation::Idle
        })
    }
}

fn disconnect(node: &mut Node) {
    node.linked = false;
    node.position = None;
}

fn end_begun(state: &mut State) {
    for node in &mut state.nodes {
        if matches!(node.rotation, Rotation::Begun(_)) {
            node.rotation = Rotation::Idle;
        }
    }
}
