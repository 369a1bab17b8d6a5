//! What the model knows of the database, the nodes and the time.
//!
//! No state holds a time of day: each holds ages, which stop at the last one that makes a difference, so
//! that any number of ticks is explored and the space is finite all the same.

use crate::Limits;

/// How many nodes a state has room for.
pub const NODES: usize = 3;

/// A generation of the one slot; 0 is none.
pub type Generation = u8;

/// A transaction id. Renumbered in each state, so that those in use are the lowest.
pub type Xid = u8;

/// Transactions, a bit each: what a snapshot sees of those that matter.
pub type Xids = u8;

/// How many ticks ago something was.
pub type Age = u8;

/// The whole of what a step depends on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct State {
    /// The database.
    pub database: Database,
    /// The nodes, in an order that means nothing.
    pub nodes: [Node; NODES],
    /// The highest generation that a rotation has returned; those below it must be dead.
    pub returned: Generation,
    /// How long ago generations 1 and 2 were superseded by a commit.
    pub superseded: [Age; 2],
    /// A node's check has accepted what that node had seen superseded before.
    pub accepted_what_it_saw_dead: bool,
}

/// The rows and transactions.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Database {
    /// The committed generation of the slot.
    pub generation: Generation,
    /// `changed_in` of generations 2 and 3, once they are committed.
    pub changed_in: [Xid; 2],
    /// `changed_in` of the other slot's row, where a variant looks at it.
    pub other_changed_in: Xid,
    /// The transaction of a rotation that has not committed.
    pub rotating: Option<Xid>,
    /// A transaction of somebody else: a write to another slot, a beat, one that is going to fail.
    pub foreign: Option<Xid>,
    /// The next transaction id.
    pub next: Xid,
}

/// A process, its row in `wst_nodes`, and the rotation that it carries out.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Node {
    /// There is no such node.
    pub absent: bool,
    /// The cell: the highest generation that was observed; 0 while there is no cell.
    pub cell: Generation,
    /// Ghost: the highest generation that this process ever observed.
    pub seen: Generation,
    /// Memory holds the token of the cell's generation, undoubted.
    pub remembers: bool,
    /// The age of the last confirmed `as_of`.
    pub confirmed: Age,
    /// The feed has a connection on which it has registered.
    pub linked: bool,
    /// The position of the feed; `None` before the first look of a connection.
    pub position: Option<Xid>,
    /// The look under way.
    pub look: Look,
    /// A check that has asked the store and has no answer yet.
    pub read: Option<Read>,
    /// The own row: which transactions it acknowledges.
    pub row: Option<Xids>,
    /// How long ago the row's beat last moved.
    pub beat: Age,
    /// The rotation that is carried out here.
    pub rotation: Rotation,
}

/// How far a look has come.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Look {
    /// The database has answered; the node has not come to read it.
    Answered {
        /// The age of `as_of`.
        as_of: Age,
        /// What the slot's row said, if it was among the rows.
        reported: Generation,
        /// What the feed's position becomes.
        position: Xid,
        /// Which transactions the snapshot saw.
        snapshot: Xids,
        /// It was the first of its connection.
        first: bool,
    },
    /// `as_of` was read; the database has not taken its snapshot.
    Asked {
        /// The age of `as_of`.
        as_of: Age,
    },
    /// None is under way.
    Idle,
}

/// What a slow check got from the store.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Read {
    /// The generation of the row.
    pub generation: Generation,
    /// Nothing was doubted since it began, so that what it finds may be remembered.
    pub undoubted: bool,
}

/// How far a rotation has come.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Rotation {
    /// The statement was sent and has a transaction, since so long.
    Begun(Age),
    /// There is none.
    Idle,
    /// It has committed, and the answer is late or lost.
    Unanswered(Generation),
    /// It is known to have committed, since so long.
    Waiting(Generation, Age),
}

impl State {
    /// Nobody is connected, and generation 1 is in the row.
    pub fn initial(limits: &Limits) -> Self {
        Self {
            database: Database {
                generation: 1,
                changed_in: [0; 2],
                other_changed_in: 0,
                rotating: None,
                foreign: None,
                next: 1,
            },
            nodes: std::array::from_fn(|index| Node {
                absent: index >= limits.nodes,
                ..Node::started(limits)
            }),
            returned: 0,
            superseded: [0; 2],
            accepted_what_it_saw_dead: false,
        }
    }

    /// A tick of real time, and of every clock.
    pub(crate) fn tick(&mut self, limits: &Limits) {
        let older = |age: &mut Age, bound: Age| *age = (*age + 1).min(bound);
        for generation in 1..=2 {
            if generation < self.database.generation {
                older(
                    &mut self.superseded[usize::from(generation) - 1],
                    limits.lease,
                );
            }
        }
        for node in &mut self.nodes {
            older(&mut node.confirmed, limits.lease);
            older(&mut node.beat, limits.patience);
            match &mut node.look {
                Look::Answered { as_of, .. } | Look::Asked { as_of } => {
                    older(as_of, limits.lease);
                }
                Look::Idle => {}
            }
            if let Rotation::Begun(age) | Rotation::Waiting(_, age) = &mut node.rotation {
                older(age, limits.lease);
            }
        }
    }
}

impl Database {
    /// `changed_in` of a generation; the first was there before all transactions.
    pub(crate) fn changed_in(&self, generation: Generation) -> Xid {
        match generation {
            0 | 1 => 0,
            later => self.changed_in[usize::from(later) - 2],
        }
    }

    /// `pg_current_snapshot()`: those that have ended.
    pub(crate) fn snapshot(&self) -> Xids {
        let open = |xid: Option<Xid>| xid.map_or(0, |xid| 1 << xid);
        ((1 << self.next) - 1) & !open(self.rotating) & !open(self.foreign)
    }

    /// `pg_snapshot_xmin(pg_current_snapshot())`: whatever is below it has ended.
    pub(crate) fn xmin(&self) -> Xid {
        let open = self.rotating.into_iter().chain(self.foreign).min();
        open.unwrap_or(self.next)
    }

    pub(crate) fn begin(&mut self) -> Xid {
        self.next += 1;
        self.next - 1
    }
}

impl Node {
    pub(crate) fn started(limits: &Limits) -> Self {
        Self {
            absent: false,
            cell: 0,
            seen: 0,
            remembers: false,
            confirmed: limits.lease,
            linked: false,
            position: None,
            look: Look::Idle,
            read: None,
            row: None,
            beat: limits.patience,
            rotation: Rotation::Idle,
        }
    }

    /// Doubts everything in memory, and whatever is being read.
    pub(crate) fn resync(&mut self) {
        self.remembers = false;
        if let Some(read) = &mut self.read {
            read.undoubted = false;
        }
    }
}
