//! What holds when many tasks write at once, or when one of them is dropped half-way.

use std::{pin::pin, task::Poll};

use tokio::task::JoinSet;

use super::*;

const TASKS: u64 = 16;
const ROUNDS: u64 = 50;

pub(super) async fn run<S: TokenStore, F: Future<Output = S>>(make: &impl Fn() -> F) {
    prove! { make:
        one_of_many_creators_wins
        one_of_many_swaps_wins_each_revision
        slots_are_written_beside_each_other
        a_write_whose_future_is_dropped_happens_whole_or_not_at_all
    }
}

async fn one_of_many_creators_wins<S: TokenStore>(store: Arc<S>) {
    let winner = one_wins(&store, 1).await;
    assert_won(&store, 1, winner).await;
}

async fn one_of_many_swaps_wins_each_revision<S: TokenStore>(store: Arc<S>) {
    for round in 1..=ROUNDS {
        let winner = one_wins(&store, round).await;
        assert_won(&store, round, winner).await;
    }
    assert_eq!(
        history(&*store, slot("contended")).await.len() as u64,
        ROUNDS
    );
}

/// Lets all tasks write revision `round` at once, and returns which one did.
async fn one_wins<S: TokenStore>(store: &Arc<S>, round: u64) -> u64 {
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(contend(Arc::clone(store), round, task));
    }
    let winners: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1, "winners of revision {round}: {winners:?}");
    winners[0]
}

/// Writes revision `round`; returns `task` if it won, and `None` if it met a conflict.
async fn contend<S: TokenStore>(store: Arc<S>, round: u64, task: u64) -> Option<u64> {
    let key = slot("contended");
    let mut next = row(key, round);
    next.token_id = token_id(task);
    let mut event = event(HistoryEventKind::Rotated, round);
    event.token_id = token_id(task);
    let expected = round.checked_sub(1).and_then(Revision::from_number);
    match store
        .compare_and_swap(&key, expected, next, Some(event))
        .await
    {
        Ok(()) => Some(task),
        Err(error) if error.kind() == StoreErrorKind::Conflict => None,
        Err(error) => panic!("a contended write wins or is a conflict, not: {error:?}"),
    }
}

async fn assert_won<S: TokenStore>(store: &Arc<S>, round: u64, winner: u64) {
    let row = get(&**store, slot("contended")).await.expect("one has won");
    assert_eq!(row.revision, revision(round));
    assert_eq!(row.token_id, token_id(winner), "in round {round}");
    let events = history(&**store, row.key).await;
    assert_eq!(events.len() as u64, round);
    assert_eq!(
        events.last().map(|event| event.token_id),
        Some(token_id(winner))
    );
}

async fn slots_are_written_beside_each_other<S: TokenStore>(store: Arc<S>) {
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let key = slot(&format!("slot-{task:02}"));
            for number in 1..=10 {
                rotate_to(&*store, key, number)
                    .await
                    .expect("nobody else writes this slot");
                // What was acknowledged is seen by the next read, whatever goes on beside it.
                assert_eq!(get(&*store, key).await, Some(row(key, number)));
                store.touch(&[(key, at(100))]).await.expect("touch answers");
            }
        });
    }
    tasks.join_all().await;
    let rows = list(&*store, "acme").await;
    assert_eq!(rows.len() as u64, TASKS);
    assert!(rows.iter().all(|row| row.generation == generation(10)));
}

async fn a_write_whose_future_is_dropped_happens_whole_or_not_at_all<S: TokenStore>(store: Arc<S>) {
    let key = slot("primary");
    rotate_up_to(&*store, key, 1).await;
    for _ in 0..20 {
        let before = settled(&*store, key).await;
        poll_once(rotate_to(&*store, key, before + 1)).await;
        settled(&*store, key).await;
    }
}

/// Polls a future one time and drops it.
async fn poll_once<F: Future>(future: F) {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let _unfinished = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

/// Returns the revision of `key`, once its row and its history were read without a write between them.
async fn settled<S: TokenStore>(store: &S, key: SlotKey) -> u64 {
    loop {
        let row = get(store, key).await;
        let events = history(store, key).await;
        if row == get(store, key).await {
            let revision = row.map_or(0, |row| row.revision.number());
            assert_eq!(events.len() as u64, revision, "one event per revision");
            return revision;
        }
        tokio::task::yield_now().await;
    }
}
