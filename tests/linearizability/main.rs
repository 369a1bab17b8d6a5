//! Is there, for what several threads saw of one slot, an order of single steps that explains it?
//!
//! Threads issue, rotate, revoke, check tokens, open sessions, use them and read streams, and note when each
//! began and ended. The checker then looks for an order in which each of them happened at one moment between
//! its beginning and its end (Herlihy, Wing: "Linearizability", 1990), on a slot that is as simple as a slot
//! can be. Had a check been answered out of a memory that lags behind a rotation, there would be none.
//!
//! This holds within a process. Another one on the same store may accept a token until the rotation returns there.

#![expect(
    clippy::unwrap_used,
    reason = "what cannot be set up has failed the test"
)]

mod checker;
mod slot;
mod workload;

use checker::explains;
use slot::{Act, Event, Outcome};
use tower_workspace_token::MemoryStore;
use workload::{Memory, record};

const HISTORIES: u64 = 2000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_threads_see_of_a_slot_happened_in_some_order() {
    let mut seen = 0;
    for seed in 1..=HISTORIES {
        let history = record(MemoryStore::new(), seed, Memory::TheAuthoritys).await;
        seen += history.len();
        assert!(explains(&history), "history {seed}: {history:#?}");
    }
    assert!(seen as u64 > 20 * HISTORIES, "{seen}");
}

/// The same on a store that takes its time and reports nothing, so that checks read it in the midst of rotations.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_store_that_reports_nothing_changes_nothing_about_that() {
    for seed in 1..=HISTORIES {
        let history = record(workload::Slow::new(seed), seed, Memory::TheAuthoritys).await;
        assert!(explains(&history), "history {seed}: {history:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_check_that_is_answered_from_memory_alone_is_found_out() {
    for seed in 1..=HISTORIES {
        if !explains(&record(MemoryStore::new(), seed, Memory::OfItsOwn).await) {
            return;
        }
    }
    panic!("{HISTORIES} histories of a check that forgets nothing were explained");
}

#[test]
fn histories_that_no_order_explains_are_refused() {
    use Act::*;
    use Outcome::*;
    let event = |act, outcome, began, ended| Event {
        act,
        outcome,
        began,
        ended,
    };
    let issued = event(Issue, Became(1), 0, 1);
    let rotated = event(Rotate, Became(2), 10, 20);
    let old = |outcome, began| event(Check { token: 1 }, outcome, began, began + 1);
    let new = |outcome, began| event(Check { token: 2 }, outcome, began, began + 1);
    let with_session = |outcome| {
        event(
            Use {
                token: 2,
                session: 1,
            },
            outcome,
            21,
            22,
        )
    };
    for (name, explained, rest) in [
        ("accepted before it", true, vec![old(Accepted, 2)]),
        ("accepted during it", true, vec![old(Accepted, 12)]),
        ("refused during it", true, vec![old(Refused, 12)]),
        (
            "accepted, then refused",
            true,
            vec![old(Accepted, 12), old(Refused, 14)],
        ),
        (
            "the new one during it",
            true,
            vec![old(Accepted, 12), new(Accepted, 14)],
        ),
        (
            "a session that is gone with it",
            true,
            vec![with_session(Unknown)],
        ),
        ("accepted after it", false, vec![old(Accepted, 21)]),
        ("refused before it", false, vec![old(Refused, 2)]),
        (
            "refused, then accepted",
            false,
            vec![old(Refused, 12), old(Accepted, 14)],
        ),
        (
            "the new one, then the old",
            false,
            vec![new(Accepted, 12), old(Accepted, 14)],
        ),
        ("the new one before it", false, vec![new(Accepted, 2)]),
        (
            "a frame after the reply",
            false,
            vec![event(Frame { token: 1 }, Accepted, 21, 22)],
        ),
        (
            "a session that outlives its token",
            false,
            vec![with_session(Accepted)],
        ),
        (
            "two rotations to one generation",
            false,
            vec![event(Rotate, Became(2), 11, 12)],
        ),
        (
            "a rotation that found nothing",
            false,
            vec![event(Rotate, NoToken, 11, 12)],
        ),
    ] {
        let mut history = vec![issued, rotated];
        history.extend(rest);
        assert_eq!(explains(&history), explained, "{name}");
    }
}
