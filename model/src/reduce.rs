//! One state for all those that differ in nothing that can ever matter.
//!
//! Each reduction gives its reason. None is made for the variants to which the reason does not apply.

use crate::{
    LeaseModel,
    state::{Generation, Look, Node, Rotation, State, Xid, Xids},
    variant::Broken,
};

impl LeaseModel {
    pub(crate) fn reduce(&self, state: &mut State) {
        if self.limits.reduced && self.broken.forgets() {
            for node in &mut state.nodes {
                self.reduce_node(node);
            }
        }
        if self.limits.reduced && self.broken.renumbers() {
            let oldest = oldest_held(state);
            forget_what_is_over(state, oldest);
            forget_what_is_known(state);
            forget_what_all_have_seen(state);
            renumber_transactions(state);
            shift_generations(state, oldest);
        }
        // Which node is which means nothing.
        state.nodes.sort_unstable();
    }

    fn reduce_node(&self, node: &mut Node) {
        let is_first = !matches!(node.look, Look::Answered { first: false, .. });
        let is_dead = node.confirmed >= self.limits.lease && node.position.is_none() && is_first;
        // The first look of a connection doubts whatever was read before, and until then nothing is trusted.
        if is_dead && self.broken != Broken::ResyncBeforeTheQuestion {
            node.remembers = false;
            node.read = None;
        }
        // What is read in vain: doubted, superseded, or remembered already.
        node.read = node.read.filter(|read| {
            let is_remembered = node.remembers && read.generation == node.cell;
            read.undoubted && read.generation >= node.cell && !is_remembered
        });
        // The cell of what is not remembered has nobody to say no to: who reads now gets no less.
        if !node.remembers {
            node.cell = 0;
        }
        node.seen = node.cell;
        let nothing_to_confirm =
            !matches!(node.look, Look::Answered { as_of, .. } if as_of < self.limits.lease);
        // Rotators would only wait for it.
        if is_dead
            && !node.linked
            && nothing_to_confirm
            && self.broken != Broken::RegisteredAfterTheLook
        {
            node.row = None;
        }
        if !node.linked && node.row.is_none() {
            node.beat = self.limits.patience;
        }
        if let Rotation::Begun(age) = &mut node.rotation
            && self.broken != Broken::WaitedFromTheStart
        {
            *age = 0;
        }
    }
}

/// A rotation is over when nobody holds what it has superseded: who reads now gets no less.
fn forget_what_is_over(state: &mut State, oldest: Generation) {
    for generation in 1..=2 {
        let is_held = state
            .nodes
            .iter()
            .any(|node| holds(node, |held| held == generation));
        if !is_held || generation >= state.database.generation {
            state.superseded[usize::from(generation) - 1] = 0;
        }
    }
    if oldest >= state.returned {
        state.returned = 0;
    }
    let mut waited_for = [false; 2];
    for node in &mut state.nodes {
        if let Rotation::Unanswered(generation) | Rotation::Waiting(generation, _) = node.rotation {
            if oldest >= generation {
                node.rotation = Rotation::Idle;
            } else {
                waited_for[usize::from(generation) - 2] = true;
            }
        }
    }
    // An acknowledgement matters to who waits for it.
    let kept = waited_bits(state.database.changed_in, waited_for);
    for node in &mut state.nodes {
        node.row = node.row.map(|row| row & kept);
        if let Look::Answered { snapshot, .. } = &mut node.look {
            *snapshot &= kept;
        }
    }
    let latest = state.database.generation;
    for generation in 2..=3 {
        let index = usize::from(generation) - 2;
        if generation != latest && !waited_for[index] {
            state.database.changed_in[index] = 0;
        }
    }
}

/// A report matters to who holds something older.
fn forget_what_is_known(state: &mut State) {
    let latest = state.database.generation;
    let changed_in = state.database.changed_in(latest);
    for node in &mut state.nodes {
        let is_behind = holds(node, |held| held < latest);
        let old = holds(node, |_| true).then_some(*node);
        let reduced = |position: Xid| {
            let is_reported = position <= changed_in && is_behind;
            if is_reported {
                changed_in
            } else {
                changed_in + 1
            }
        };
        node.position = node.position.map(reduced);
        if let Look::Answered {
            position, reported, ..
        } = &mut node.look
        {
            *position = reduced(*position);
            if !old.is_some_and(|old| holds(&old, |held| held < *reported)) {
                *reported = 0;
            }
        }
    }
}

/// Nothing is compared with a row that all have seen.
fn forget_what_all_have_seen(state: &mut State) {
    let database = &mut state.database;
    let latest = database.generation;
    let changed_in = database.changed_in(latest);
    let is_compared = state.nodes.iter().any(|node| {
        let of_look = match node.look {
            Look::Answered { position, .. } => Some(position),
            _ => None,
        };
        let is_waiting = matches!(node.rotation,
            Rotation::Unanswered(generation) | Rotation::Waiting(generation, _) if generation == latest);
        is_waiting || node.position.is_some_and(|position| position <= changed_in)
            || of_look.is_some_and(|position| position <= changed_in)
    });
    if latest > 1 && !is_compared {
        database.changed_in[usize::from(latest) - 2] = 0;
    }
}

/// Only the order of transactions that are compared is kept.
fn renumber_transactions(state: &mut State) {
    let database = &mut state.database;
    let [second, third] = database.changed_in;
    let open = [database.rotating, database.foreign].map(|xid| xid.unwrap_or(0));
    let used = [second, third, open[0], open[1]];
    let rank = |xid: Xid| {
        let below = used.iter().filter(|&&used| used != 0 && used < xid);
        1 + below.count() as Xid
    };
    let changed_in = [second, third].map(|xid| if xid == 0 { 0 } else { rank(xid) });
    let renumbered = |xids: Xids| {
        let bit = |old: Xid, new: Xid| Xids::from(old != 0 && xids & 1 << old != 0) << new;
        bit(second, changed_in[0]) | bit(third, changed_in[1])
    };
    for node in &mut state.nodes {
        node.position = node.position.map(rank);
        node.row = node.row.map(renumbered);
        if let Look::Answered {
            position, snapshot, ..
        } = &mut node.look
        {
            *position = rank(*position);
            *snapshot = renumbered(*snapshot);
        }
    }
    database.changed_in = changed_in;
    database.rotating = database.rotating.map(rank);
    database.foreign = database.foreign.map(rank);
    database.next = rank(database.next);
}

/// The oldest generation that is held is the first: so there is no end to rotations.
fn shift_generations(state: &mut State, oldest: Generation) {
    let shift = oldest - 1;
    if shift == 0 {
        return;
    }
    let shifted = |generation: &mut Generation| *generation = generation.saturating_sub(shift);
    for node in &mut state.nodes {
        shifted(&mut node.cell);
        shifted(&mut node.seen);
        if let Some(read) = &mut node.read {
            shifted(&mut read.generation);
        }
        if let Look::Answered { reported, .. } = &mut node.look {
            shifted(reported);
        }
        if let Rotation::Unanswered(generation) | Rotation::Waiting(generation, _) =
            &mut node.rotation
        {
            shifted(generation);
        }
    }
    shifted(&mut state.returned);
    shifted(&mut state.database.generation);
    let skipped = usize::from(shift);
    for list in [&mut state.database.changed_in, &mut state.superseded] {
        *list = std::array::from_fn(|index| list.get(index + skipped).copied().unwrap_or(0));
    }
}

fn oldest_held(state: &State) -> Generation {
    let mut oldest = state.database.generation;
    while oldest > 1
        && state
            .nodes
            .iter()
            .any(|node| holds(node, |held| held < oldest))
    {
        oldest -= 1;
    }
    oldest
}

/// Whether a generation that `is_it` is in the memory of `node`, or is being read.
fn holds(node: &Node, is_it: impl Fn(Generation) -> bool) -> bool {
    let remembered = node.remembers && is_it(node.cell);
    remembered || node.read.is_some_and(|read| is_it(read.generation))
}

fn waited_bits(changed_in: [Xid; 2], waited_for: [bool; 2]) -> Xids {
    let bits = changed_in.iter().zip(waited_for);
    bits.filter(|(_, waited_for)| *waited_for)
        .fold(0, |bits, (xid, _)| bits | 1 << xid)
}
