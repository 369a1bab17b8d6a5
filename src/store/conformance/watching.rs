//! What a store tells those who watch it, and when.

use super::{watcher::Watcher, *};
use crate::{
    clock::{Clock, Moment, SystemClock},
    store::Freshness,
};

pub(super) async fn run<S: TokenStore, F: Future<Output = S>>(make: &impl Fn() -> F) {
    prove! { make:
        each_change_is_reported
        a_change_is_reported_before_a_later_moment_is_confirmed
        confirmed_moments_move_on
        every_observer_is_told
        writes_go_on_after_an_observer_has_gone
    }
}

async fn each_change_is_reported<S: TokenStore>(store: Arc<S>) {
    let watcher = Watcher::of(&*store);
    let (a, b) = (slot("a"), slot_of("acme-2", "b"));
    for number in 1..=3 {
        for key in [a, b] {
            let mark = watcher.mark();
            rotate_to(&*store, key, number)
                .await
                .expect("a write with the right revision succeeds");
            expect_change(&watcher, mark, key, number).await;
        }
    }
    let mark = watcher.mark();
    revoke_to(&*store, a, 4).await;
    expect_change(&watcher, mark, a, 4).await;
}

async fn a_change_is_reported_before_a_later_moment_is_confirmed<S: TokenStore>(store: Arc<S>) {
    let watcher = Watcher::of(&*store);
    let key = slot("primary");
    for number in 1..=20 {
        let mark = watcher.mark();
        rotate_to(&*store, key, number)
            .await
            .expect("a write with the right revision succeeds");
        expect_change_before_confirmation(&watcher, mark, key, number).await;
    }
}

async fn confirmed_moments_move_on<S: TokenStore>(store: Arc<S>) {
    let watcher = Watcher::of(&*store);
    if !matches!(watcher.freshness(), Freshness::Lease { .. }) {
        return;
    }
    // Without a single write: a quiet store is confirmed too.
    for _ in 0..5 {
        expect_confirmation(&watcher).await;
    }
    assert!(
        watcher.latest_confirmed() <= Some(SystemClock.moment()),
        "a moment that has not come was confirmed"
    );
}

async fn every_observer_is_told<S: TokenStore>(store: Arc<S>) {
    let watchers = [Watcher::of(&*store), Watcher::of(&*store)];
    let marks = watchers.each_ref().map(Watcher::mark);
    rotate_up_to(&*store, slot("primary"), 1).await;
    for (watcher, mark) in watchers.iter().zip(marks) {
        expect_change(watcher, mark, slot("primary"), 1).await;
    }
}

async fn writes_go_on_after_an_observer_has_gone<S: TokenStore>(store: Arc<S>) {
    let key = slot("primary");
    let gone = Watcher::of(&*store);
    rotate_up_to(&*store, key, 1).await;
    drop(gone);
    for number in 2..=5 {
        rotate_to(&*store, key, number)
            .await
            .expect("a write with the right revision succeeds");
    }
    let next = Watcher::of(&*store);
    let mark = next.mark();
    rotate_to(&*store, key, 6)
        .await
        .expect("a write with the right revision succeeds");
    expect_change(&next, mark, key, 6).await;
}

/// Expects a report since `mark` that `key` has reached generation `number`: by now, or within the lease.
pub(super) async fn expect_change(watcher: &Watcher, mark: usize, key: SlotKey, number: u64) {
    let told = match watcher.freshness() {
        Freshness::Immediate => watcher.was_told(mark, key, generation(number)),
        Freshness::Lease { .. } => watcher.is_told(mark, key, generation(number)).await,
        Freshness::Unwatched => return,
    };
    assert!(
        told,
        "generation {number} of {key:?} was not reported in time"
    );
}

/// Expects that what was acknowledged by now is reported before a later moment is confirmed.
pub(super) async fn expect_change_before_confirmation(
    watcher: &Watcher,
    mark: usize,
    key: SlotKey,
    number: u64,
) {
    if !matches!(watcher.freshness(), Freshness::Lease { .. }) {
        return;
    }
    let acknowledged = expect_confirmation(watcher).await;
    assert!(
        watcher.was_told_before(acknowledged, mark, key, generation(number)),
        "generation {number} of {key:?} was not reported before a later moment was confirmed"
    );
}

/// Waits until a moment after this one is confirmed, and returns this one.
pub(super) async fn expect_confirmation(watcher: &Watcher) -> Moment {
    let now = SystemClock.moment();
    assert!(
        watcher.is_confirmed_after(now).await,
        "no later moment was confirmed in time"
    );
    now
}
