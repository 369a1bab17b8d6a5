//! What the feed says of rows that others change, in whatever order they commit.

use std::{sync::Arc, time::Duration};

use tower_workspace_token::{
    clock::{Clock, ManualClock, SystemClock, Timestamp},
    store::{
        TokenStore,
        conformance::{Report, Watcher},
    },
};

use tower_workspace_token_postgres::Options;

use crate::support::{database, generation, rotate_to, slot, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_transaction_that_commits_after_younger_ones_is_not_missed() {
    let database = database!();
    let (one, other) = (database.store().await, database.store().await);
    for name in ["slow", "fast"] {
        rotate_to(&one, slot(name), 1).await.unwrap();
    }
    let watcher = Watcher::of(&other);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    for number in 2..=6 {
        // By hand, and so without a notification.
        let mut client = database.client().await;
        let slow = client.transaction().await.unwrap();
        let sql = format!(
            "UPDATE wst_slots SET revision = {number}, generation = {number},
                 changed_in = pg_current_xact_id() WHERE name = 'slow'"
        );
        slow.batch_execute(&sql).await.unwrap();
        let mark = watcher.mark();
        rotate_to(&one, slot("fast"), number).await.unwrap();
        assert!(
            watcher
                .is_told(mark, slot("fast"), generation(number))
                .await
        );
        assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
        assert!(!watcher.was_told(mark, slot("slow"), generation(number)));

        slow.commit().await.unwrap();
        let committed = SystemClock.moment();
        assert!(watcher.is_confirmed_after(committed).await);
        assert!(watcher.was_told_before(committed, mark, slot("slow"), generation(number)));
        let doubted = watcher.reports()[mark..].contains(&Report::Resync);
        assert!(!doubted, "nothing was in doubt");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_transaction_of_somebody_else_does_not_stop_the_feed() {
    let database = database!();
    let (one, other) = (database.store().await, database.store().await);
    let watcher = Watcher::of(&other);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    let mut client = database.client().await;
    let long = client.transaction().await.unwrap();
    long.batch_execute("SELECT pg_current_xact_id()")
        .await
        .unwrap();
    for number in 1..=20 {
        let mark = watcher.mark();
        rotate_to(&one, slot("primary"), number).await.unwrap();
        let key = slot("primary");
        let acknowledged = one.acknowledged(&key, generation(number));
        let acknowledged = tokio::time::timeout(one.lease(), acknowledged).await;
        assert!(acknowledged.is_ok(), "generation {number}");
        assert!(watcher.was_told(mark, slot("primary"), generation(number)));
    }
    long.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_was_cut_off_doubts_everything_and_goes_on() {
    let database = database!();
    let one = database.store().await;
    let other = database.named("other").await;
    rotate_to(&one, slot("primary"), 1).await.unwrap();
    let watcher = Watcher::of(&other);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    for number in 2..=4 {
        let mark = watcher.mark();
        database.cut_off("other").await;
        rotate_to(&one, slot("primary"), number).await.unwrap();
        let written = SystemClock.moment();
        assert!(watcher.is_confirmed_after(written).await);
        assert!(watcher.was_told_before(written, mark, slot("primary"), generation(number)));
        let reports = watcher.reports();
        let first = reports[mark..]
            .iter()
            .find(|report| **report == Report::Resync || is_after(report, written));
        assert_eq!(first, Some(&Report::Resync), "what was missed is not known");
        let row = other.get(&slot("primary")).await.unwrap().unwrap();
        assert_eq!(row.generation, generation(number));
    }
}

/// It may have read the row before, and no later look sees the change again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_to_watch_during_a_look_hears_of_what_it_saw() {
    let database = database!();
    let one = database.store().await;
    rotate_to(&one, slot("primary"), 1).await.unwrap();
    // A look waits no longer than the lease.
    let url = database.url();
    let separator = if url.ends_with('?') { "" } else { "&" };
    let options = Options::new(format!("{url}{separator}application_name=other"));
    let other = options.with_lease(Duration::from_secs(5)).connect().await;
    let other = other.unwrap();
    let early = Watcher::of(&other);
    assert!(early.is_confirmed_after(SystemClock.moment()).await);
    for number in 2..=4 {
        let mut client = database.client().await;
        let changing = client.transaction().await.unwrap();
        let lock = "LOCK TABLE wst_slots IN ACCESS EXCLUSIVE MODE";
        changing.batch_execute(lock).await.unwrap();
        let change = format!(
            "UPDATE wst_slots SET revision = {number}, generation = {number},
                 changed_in = pg_current_xact_id()"
        );
        changing.batch_execute(&change).await.unwrap();
        let looks = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'other'
             AND datname = current_database() AND wait_event_type = 'Lock'";
        until(async || database.number(looks).await == 1).await;
        let late = Watcher::of(&other);
        changing.commit().await.unwrap();
        let change = Report::Changed(slot("primary"), generation(number));
        for watcher in [&early, &late] {
            let is_told = || watcher.reports().contains(&change);
            assert!(watcher.wait_until(is_told).await, "{number}");
        }
    }
}

/// One that can't be read within the lease would otherwise be read again for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_changes_than_a_look_can_read_do_not_stop_the_feed() {
    let database = database!();
    let options = database.options().with_lease(Duration::from_millis(100));
    let store = options.connect().await.unwrap();
    let watcher = Watcher::of(&store);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    let mark = watcher.mark();
    database
        .execute(
            "INSERT INTO wst_slots SELECT 'acme', 's' || n, 1, 1, 'mzxw6ytbmzxw6ytb', NULL, NULL, 1, NULL,
                 pg_current_xact_id() FROM generate_series(1, 200000) n",
        )
        .await;
    let written = SystemClock.moment();
    assert!(watcher.is_confirmed_after(written).await);
    assert!(watcher.was_told_before(written, mark, slot("s7"), generation(1)));
}

fn is_after(report: &Report, moment: tower_workspace_token::clock::Moment) -> bool {
    matches!(report, Report::Confirmed(as_of) if *as_of > moment)
}

#[tokio::test]
async fn confirmed_moments_are_read_from_the_given_clock() {
    let database = database!();
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1)));
    let options = database.options().with_clock(Arc::clone(&clock));
    let store = options.connect().await.unwrap();
    let watcher = Watcher::of(&store);
    let confirmed = || watcher.latest_confirmed() == Some(clock.moment());
    assert!(watcher.wait_until(confirmed).await);
    clock.advance(Duration::from_secs(3600));
    assert!(watcher.wait_until(confirmed).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_ends_when_nobody_watches_and_begins_again() {
    let database = database!();
    let store = database.store().await;
    for number in 1..=3 {
        let watcher = Watcher::of(&store);
        assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
        assert_eq!(store.nodes().await.unwrap().len(), 1);
        rotate_to(&store, slot("primary"), number).await.unwrap();
        drop(watcher);
        until(async || store.nodes().await.unwrap().is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_or_closing_the_store_ends_its_connections() {
    let database = database!();
    for is_closed in [false, true] {
        let store = database.named("ours").await;
        rotate_to(&store, slot(if is_closed { "a" } else { "b" }), 1)
            .await
            .unwrap();
        let watcher = Watcher::of(&store);
        assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
        drop(watcher);
        if is_closed {
            store.close().await;
            assert_eq!(database.number("SELECT count(*) FROM wst_nodes").await, 0);
        }
        drop(store);
        let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ours'";
        until(async || database.number(open).await == 0).await;
        until(async || database.number("SELECT count(*) FROM wst_nodes").await == 0).await;
    }
}

/// Otherwise others would not wait for it, while it trusted what it had confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_stay_in_the_table_until_what_they_confirmed_is_dead() {
    let database = database!();
    let store = database.store().await;
    let watcher = Watcher::of(&store);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    let mark = watcher.mark();
    let closing = {
        let store = store.clone();
        tokio::spawn(async move { store.close().await })
    };
    let resync = || watcher.reports()[mark..].contains(&Report::Resync);
    assert!(watcher.wait_until(resync).await);
    let stopped = SystemClock.moment();
    closing.await.unwrap();
    assert!(SystemClock.moment().saturating_since(stopped) >= store.lease() * 9 / 10);
    assert!(watcher.latest_confirmed().unwrap() < stopped);
    assert_eq!(database.number("SELECT count(*) FROM wst_nodes").await, 0);
}
