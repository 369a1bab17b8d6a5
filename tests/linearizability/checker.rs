//! The search for an order: Wing and Gong's algorithm, with what was found to lead nowhere kept (Lowe: "Testing for
//! linearizability", 2017).

use std::collections::HashSet;

use crate::slot::{Event, Slot};

/// Returns whether some order of the events explains their outcomes.
///
/// # Panics
/// There are more than 64 events.
pub(crate) fn explains(history: &[Event]) -> bool {
    assert!(history.len() <= 64, "{} events", history.len());
    let all = u64::MAX.checked_shr(64 - history.len() as u32).unwrap_or(0);
    search(history, all, Slot::default(), &mut HashSet::new())
}

/// Looks for an order of the events in `left`, a set of bits, from `slot` on.
fn search(history: &[Event], left: u64, slot: Slot, in_vain: &mut HashSet<(u64, Slot)>) -> bool {
    if left == 0 {
        return true;
    }
    if !in_vain.insert((left, slot)) {
        return false;
    }
    let is_left = |index: &usize| left & 1 << index != 0;
    let events = || (0..history.len()).filter(is_left);
    // Whatever began after another one had ended comes after it.
    let first_end = events().map(|index| history[index].ended).min();
    let may_be_next = |index: &usize| Some(history[*index].began) <= first_end;
    events().filter(may_be_next).any(|index| {
        let Event { act, outcome, .. } = history[index];
        slot.after(act, outcome)
            .is_some_and(|after| search(history, left & !(1 << index), after, in_vain))
    })
}
