//! What two handles on the same rows see of each other, as two processes do.

use tokio::{task::JoinSet, time::timeout};

use super::{
    watcher::Watcher,
    watching::{expect_change, expect_change_before_confirmation, expect_confirmation},
    *,
};
use crate::{prove::prove_case, store::Freshness};

/// Proves each of the named cases on a pair of its own.
macro_rules! prove_pairs {
    ($make:ident: $($case:ident)*) => {$({
        let (one, other) = $make().await;
        prove_case("store", stringify!($case), $case(Arc::new(one), Arc::new(other))).await;
    })*};
}

pub(super) async fn run<S: TokenStore, F: Future<Output = (S, S)>>(make: &impl Fn() -> F) {
    prove_pairs! { make:
        what_one_acknowledged_the_other_reads
        one_handle_wins_each_revision
        what_one_acknowledges_the_other_was_told
        what_was_not_written_is_not_acknowledged
        what_one_wrote_is_reported_to_who_watches_the_other
    }
}

async fn what_one_acknowledged_the_other_reads<S: TokenStore>(one: Arc<S>, other: Arc<S>) {
    let key = slot("primary");
    for number in 1..=20 {
        let (writer, reader) = if number % 2 == 0 {
            (&one, &other)
        } else {
            (&other, &one)
        };
        rotate_to(&**writer, key, number)
            .await
            .expect("a write with the right revision succeeds");
        assert_eq!(get(&**reader, key).await, Some(row(key, number)));
        assert_eq!(list(&**reader, "acme").await, [row(key, number)]);
        assert_eq!(history(&**reader, key).await.len() as u64, number);
    }
}

async fn one_handle_wins_each_revision<S: TokenStore>(one: Arc<S>, other: Arc<S>) {
    let key = slot("contended");
    for number in 1..=20 {
        let mut tasks = JoinSet::new();
        for store in [&one, &other] {
            let store = Arc::clone(store);
            tasks.spawn(async move { rotate_to(&*store, key, number).await });
        }
        let (won, lost): (Vec<_>, Vec<_>) =
            tasks.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!(
            won.len(),
            1,
            "winners of revision {number}; others: {lost:?}"
        );
        for result in lost {
            assert_conflict(result, "to lose against the other handle");
        }
    }
}

/// Of a store that never says that something is acknowledged, this proves nothing.
async fn what_one_acknowledges_the_other_was_told<S: TokenStore>(one: Arc<S>, other: Arc<S>) {
    let watcher = Watcher::of(&*other);
    let Freshness::Lease { duration, .. } = watcher.freshness() else {
        return;
    };
    // Before it is confirmed anything it trusts nothing, and nobody has to ask it.
    expect_confirmation(&watcher).await;
    let key = slot("primary");
    for number in 1..=20 {
        let mark = watcher.mark();
        rotate_to(&*one, key, number)
            .await
            .expect("a write with the right revision succeeds");
        let acknowledged = one.acknowledged(&key, generation(number));
        if timeout(duration, acknowledged).await.is_err() {
            return;
        }
        assert!(
            watcher.was_told(mark, key, generation(number)),
            "generation {number} was acknowledged before the other handle was told of it"
        );
    }
}

async fn what_was_not_written_is_not_acknowledged<S: TokenStore>(one: Arc<S>, other: Arc<S>) {
    let watcher = Watcher::of(&*other);
    let Freshness::Lease { duration, .. } = watcher.freshness() else {
        return;
    };
    rotate_up_to(&*one, slot("primary"), 1).await;
    for (name, number) in [("primary", 2), ("never-issued", 1)] {
        let key = slot(name);
        let acknowledged = one.acknowledged(&key, generation(number));
        assert!(
            timeout(duration, acknowledged).await.is_err(),
            "generation {number} of {key:?}, which there is not, was acknowledged"
        );
    }
}

async fn what_one_wrote_is_reported_to_who_watches_the_other<S: TokenStore>(
    one: Arc<S>,
    other: Arc<S>,
) {
    let watcher = Watcher::of(&*other);
    let key = slot("primary");
    for number in 1..=20 {
        let mark = watcher.mark();
        rotate_to(&*one, key, number)
            .await
            .expect("a write with the right revision succeeds");
        expect_change(&watcher, mark, key, number).await;
        expect_change_before_confirmation(&watcher, mark, key, number).await;
    }
    let mark = watcher.mark();
    revoke_to(&*one, key, 21).await;
    expect_change(&watcher, mark, key, 21).await;
}
