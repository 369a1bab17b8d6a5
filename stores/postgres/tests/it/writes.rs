//! Writes that contend, and writes whose answer does not come.

use std::time::Duration;

use tokio::task::JoinSet;
use tower_workspace_token::store::{StoreErrorKind, TokenStore};

use crate::support::{database, generation, rotate_to, slot, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_writers_one_wins_each_revision() {
    let database = database!();
    let stores = [database.store().await, database.store().await];
    for number in 1..=20 {
        let mut writers = JoinSet::new();
        for writer in 0..16 {
            let store = stores[writer % 2].clone();
            writers.spawn(async move { rotate_to(&store, slot("primary"), number).await });
        }
        let (won, lost): (Vec<_>, Vec<_>) = writers
            .join_all()
            .await
            .into_iter()
            .partition(Result::is_ok);
        assert_eq!(won.len(), 1, "of revision {number}: {lost:?}");
        for refused in lost {
            assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Conflict);
        }
    }
    let history = stores[0].history(&slot("primary")).await.unwrap();
    assert_eq!(history.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_off_in_a_write_makes_it_ambiguous() {
    let database = database!();
    let store = database.named("ours").await;
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    let mut client = database.client().await;
    let holding = client.transaction().await.unwrap();
    holding
        .batch_execute("SELECT FROM wst_slots FOR UPDATE")
        .await
        .unwrap();
    let writing = {
        let store = store.clone();
        tokio::spawn(async move { rotate_to(&store, slot("primary"), 2).await })
    };
    let waits = "SELECT count(*) FROM pg_stat_activity
         WHERE application_name = 'ours' AND wait_event_type = 'Lock'";
    until(async || database.number(waits).await == 1).await;
    database.cut_off("ours").await;
    let error = writing.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Ambiguous);
    holding.rollback().await.unwrap();
    // The pool is as good as new.
    rotate_to(&store, slot("primary"), 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_waits_too_long_is_given_up_by_the_server_and_was_not_written() {
    let database = database!();
    let options = database.options().with_timeout(Duration::from_millis(500));
    let store = options.connect().await.unwrap();
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    let mut client = database.client().await;
    let holding = client.transaction().await.unwrap();
    holding
        .batch_execute("SELECT FROM wst_slots FOR UPDATE")
        .await
        .unwrap();
    let error = rotate_to(&store, slot("primary"), 2).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    holding.rollback().await.unwrap();
    let row = store.get(&slot("primary")).await.unwrap().unwrap();
    assert_eq!(row.generation, generation(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_bounded_in_time_and_a_stuck_connection_is_not_used_again() {
    let database = database!();
    let options = database.options().with_timeout(Duration::from_millis(500));
    let store = options.with_pool_size(1).connect().await.unwrap();
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    let mut client = database.client().await;
    let holding = client.transaction().await.unwrap();
    holding
        .batch_execute("LOCK TABLE wst_slots IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let error = store.get(&slot("primary")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    holding.rollback().await.unwrap();
    assert!(store.get(&slot("primary")).await.unwrap().is_some());

    // Nor is there any wait for a connection that does not come back.
    let taken = store.pool().get().await.unwrap();
    let error = store.get(&slot("primary")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let error = rotate_to(&store, slot("primary"), 2).await.unwrap_err();
    assert_eq!(
        error.kind(),
        StoreErrorKind::Unavailable,
        "nothing was sent"
    );
    drop(taken);
    rotate_to(&store, slot("primary"), 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_that_were_cut_off_fail_no_read() {
    let database = database!();
    let store = database.named("ours").await;
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    for _ in 0..20 {
        database.cut_off("ours").await;
        assert!(store.get(&slot("primary")).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_corrupt_and_left_as_it_is() {
    let database = database!();
    let store = database.store().await;
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    database
        .execute("UPDATE wst_slots SET token_id = repeat('?', 16)")
        .await;
    for _ in 0..2 {
        let error = store.get(&slot("primary")).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    }
    database.execute("DROP TABLE wst_slots CASCADE").await;
    let error = store.get(&slot("primary")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    let error = rotate_to(&store, slot("primary"), 2).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn no_error_quotes_a_row() {
    let database = database!();
    let store = database.store().await;
    database
        .execute("ALTER TABLE wst_slots ADD CHECK (name <> 'forbidden')")
        .await;
    let error = rotate_to(&store, slot("forbidden"), 1).await.unwrap_err();
    let mut printed = format!("{error:?} {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        printed += &format!(" {error:?} {error}");
        cause = error.source();
    }
    assert!(printed.contains("23514"), "{printed}");
    assert!(printed.contains("violates check constraint"), "{printed}");
    // PostgreSQL's DETAIL has the whole row: its workspace, and the sealed token in hexadecimal.
    for part in ["acme", "forbidden", "7373737373"] {
        assert!(!printed.contains(part), "{part}: {printed}");
    }
}

#[tokio::test]
async fn who_may_no_longer_write_is_told_that_nothing_was_written() {
    let database = database!();
    let store = database.store().await;
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    let client = store.pool().get().await.unwrap();
    let read_only = "SET default_transaction_read_only = on";
    client.batch_execute(read_only).await.unwrap();
    drop(client);
    let error = rotate_to(&store, slot("primary"), 2).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Full);
}
