//! What several nodes know of each other, and how long a rotation waits for them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use tower_workspace_token::{
    Keys, TokenAuthority, TokenName, WorkspaceId,
    authority::{Lease, LeaseEnded, Others, Wait},
    clock::{Clock, ManualClock, SystemClock, Timestamp},
    store::{
        StoreErrorKind, TokenStore,
        conformance::{Report, Watcher},
        journal::{JournaledStore, RollbackJournal},
    },
    token::PresentedToken,
};
use tower_workspace_token_postgres::{OpenErrorKind, PostgresStore};

use crate::support::{database, generation, rotate_to, slot, until};

/// How many connections of the store named `other` wait for a lock.
const WAITS: &str = "SELECT count(*) FROM pg_stat_activity
     WHERE application_name = 'other' AND datname = current_database() AND wait_event_type = 'Lock'";

const GHOST: &str = "INSERT INTO wst_nodes VALUES ('ghost', 1, now(), NULL)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_rotation_has_returned_every_node_refuses_the_old_token() {
    let database = database!();
    let keys = Keys::generate().unwrap();
    let nodes = [&keys; 3].map(|keys| keys.clone());
    let mut authorities = Vec::new();
    for keys in nodes {
        let store = database.store().await;
        authorities.push(authority(&store, keys));
    }
    let mut token = authorities[0].issue(&acme(), &primary()).await.unwrap();
    for round in 0..60 {
        for authority in &authorities {
            assert!(accepts(authority, token.expose_secret()).await, "{round}");
        }
        let rotator = &authorities[round % 3];
        let receipt = rotator.rotate(&acme(), &primary()).await.unwrap();
        for authority in &authorities {
            assert!(!accepts(authority, token.expose_secret()).await, "{round}");
        }
        // At first, some may still be on their way into the table.
        if round > 3 {
            assert_eq!(receipt.ended.others, Others::Acknowledged, "{round}");
        }
        token = receipt.token;
    }
}

/// The first look of a connection knows of no change: what it says it knows has to be read for what is open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_on_a_node_that_comes_back_ends_before_it_acknowledges() {
    let database = database!();
    // Longer than anything here takes, so that rotations return by acknowledgement.
    let lease = Duration::from_secs(5);
    let keys = Keys::generate().unwrap();
    let one = database.options().with_lease(lease).connect().await;
    let rotator = authority(&one.unwrap(), keys.clone());
    let other = database.named("other").await;
    let node = silent_authority(&other, keys);
    let watcher = Watcher::of(&other);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    let mut token = rotator.issue(&acme(), &primary()).await.unwrap();
    for number in 2..=4 {
        let mut open = open(&node, &acme(), token.expose_secret()).await;

        // It comes back, and waits to be let into the table until the rotation is written.
        let mut client = database.client().await;
        let holding = client.transaction().await.unwrap();
        let lock = "SELECT FROM wst_nodes WHERE node = $1 FOR UPDATE";
        holding.execute(lock, &[&other.node_id()]).await.unwrap();
        database.cut_off("other").await;
        until(async || database.number(WAITS).await == 1).await;
        let rotation = {
            let rotator = rotator.clone();
            tokio::spawn(async move { rotator.rotate(&acme(), &primary()).await.unwrap() })
        };
        let written = format!("SELECT count(*) FROM wst_slots WHERE generation = {number}");
        until(async || database.number(&written).await == 1).await;
        assert!(open.lease.is_live(), "it has not heard of it");
        holding.rollback().await.unwrap();

        let receipt = rotation.await.unwrap();
        assert!(!open.lease.is_live(), "it outlives generation {number}");
        assert!(open.has_ended());
        assert_eq!(receipt.ended.others, Others::Acknowledged);
        token = receipt.token;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_more_open_streams_than_one_statement_reads_each_ends() {
    let database = database!();
    let keys = Keys::generate().unwrap();
    let (one, other) = (database.store().await, database.named("other").await);
    let (issuer, node) = (
        authority(&one, keys.clone()),
        silent_authority(&other, keys),
    );
    let watcher = Watcher::of(&other);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    let mut streams = Vec::new();
    for number in 0..1100 {
        let workspace = format!("w{number}").parse().unwrap();
        let token = issuer.issue(&workspace, &primary()).await.unwrap();
        streams.push(open(&node, &workspace, token.expose_secret()).await);
    }
    let mut client = database.client().await;
    let ending = client.transaction().await.unwrap();
    let lock = "SELECT FROM wst_nodes WHERE node = $1 FOR UPDATE";
    ending.execute(lock, &[&other.node_id()]).await.unwrap();
    // All but one, and behind the back of everybody.
    let rotate = "UPDATE wst_slots SET revision = 2, generation = 2,
         changed_in = pg_current_xact_id() WHERE workspace <> 'w0'";
    ending.batch_execute(rotate).await.unwrap();
    database.cut_off("other").await;
    until(async || database.number(WAITS).await == 1).await;
    ending.commit().await.unwrap();
    let ended = SystemClock.moment();
    assert!(watcher.is_confirmed_after(ended).await);
    let live = streams.iter().filter(|open| open.lease.is_live());
    let live: Vec<_> = live.map(|open| open.lease.workspace().as_str()).collect();
    assert_eq!(live, ["w0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_waits_one_lease_for_a_node_that_is_frozen() {
    let database = database!();
    let store = database.store().await;
    let authority = authority(&store, Keys::generate().unwrap());
    authority.issue(&acme(), &primary()).await.unwrap();
    database.execute(GHOST).await;
    let receipt = authority.rotate(&acme(), &primary()).await.unwrap();
    assert_eq!(receipt.ended.others, Others::LeaseRanOut);
    assert!(receipt.ended.elapsed >= store.lease());
    // One that has acknowledged an earlier state is frozen as well.
    database
        .execute("UPDATE wst_nodes SET acknowledged = pg_current_snapshot() WHERE node = 'ghost'")
        .await;
    let receipt = authority.rotate(&acme(), &primary()).await.unwrap();
    assert_eq!(receipt.ended.others, Others::LeaseRanOut);
    let this_node = authority.with_wait(Wait::ThisNode);
    let receipt = this_node.rotate(&acme(), &primary()).await.unwrap();
    assert_eq!(receipt.ended.others, Others::NotAwaited);
    assert!(receipt.ended.elapsed < store.lease());

    database
        .execute("DELETE FROM wst_nodes WHERE node = 'ghost'")
        .await;
    let receipt = authority.rotate(&acme(), &primary()).await.unwrap();
    assert_eq!(receipt.ended.others, Others::Acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_taken_for_gone_registers_again_and_doubts_everything() {
    let database = database!();
    let store = database.store().await;
    let watcher = Watcher::of(&store);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    let mark = watcher.mark();
    database.execute("DELETE FROM wst_nodes").await;
    let resync = || watcher.reports()[mark..].contains(&Report::Resync);
    assert!(watcher.wait_until(resync).await);
    let nodes = store.nodes().await.unwrap();
    assert!(nodes.len() == 1 && nodes[0].is_this && nodes[0].id == store.node_id());
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_silent_for_ten_seconds_is_taken_out_of_the_table() {
    let database = database!();
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1)));
    let options = database.options().with_clock(Arc::clone(&clock));
    let store = options.connect().await.unwrap();
    let watcher = Watcher::of(&store);
    let confirmed = || watcher.latest_confirmed() == Some(clock.moment());
    assert!(watcher.wait_until(confirmed).await);
    database.execute(GHOST).await;
    let beats = "UPDATE wst_nodes SET beat = beat + 1 WHERE node = 'ghost'";
    for seconds in [3, 7, 9, 9] {
        clock.advance(Duration::from_secs(seconds));
        assert!(watcher.wait_until(confirmed).await);
        assert_eq!(store.nodes().await.unwrap().len(), 2, "it has beaten");
        database.execute(beats).await;
    }
    for seconds in [3, 9, 2] {
        assert_eq!(store.nodes().await.unwrap().len(), 2);
        clock.advance(Duration::from_secs(seconds));
        assert!(watcher.wait_until(confirmed).await);
    }
    until(async || store.nodes().await.unwrap().len() == 1).await;
    assert!(store.nodes().await.unwrap()[0].is_this);
}

/// Where there is always news, each acknowledgement is a beat, so that none is ever due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_silent_is_taken_out_although_there_is_always_news() {
    let database = database!();
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1)));
    let options = database.options().with_clock(Arc::clone(&clock));
    let store = options.connect().await.unwrap();
    let watcher = Watcher::of(&store);
    let confirmed = || watcher.latest_confirmed() == Some(clock.moment());
    assert!(watcher.wait_until(confirmed).await);
    database.execute(GHOST).await;
    let (writer, key) = (database.store().await, slot("primary"));
    // Half a minute of the clock.
    for number in 1..=60 {
        let mark = watcher.mark();
        rotate_to(&writer, key, number).await.unwrap();
        assert!(watcher.is_told(mark, key, generation(number)).await);
        let known = "SELECT count(*) FROM wst_nodes
             JOIN wst_slots ON pg_visible_in_snapshot(changed_in, acknowledged)";
        until(async || database.number(known).await == 1).await;
        clock.advance(Duration::from_millis(500));
        assert!(watcher.wait_until(confirmed).await);
    }
    let nodes = store.nodes().await.unwrap();
    assert!(nodes.len() == 1 && nodes[0].is_this, "{nodes:?}");
}

/// Another authority of this process, when the answer to the write was lost: nobody else tells it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_acknowledgements_tells_all_who_watch_the_store() {
    let database = database!();
    let store = database.store().await;
    let watchers = [Watcher::of(&store), Watcher::of(&store)];
    for watcher in &watchers {
        assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    }
    let marks = watchers.each_ref().map(Watcher::mark);
    // Of a row that is not there, so that the feed has nothing to say of it.
    let (key, lost) = (slot("lost"), generation(2));
    let asking = store.acknowledged(&key, lost);
    let asked = tokio::time::timeout(Duration::from_millis(10), asking).await;
    assert!(asked.is_err(), "nobody can have acknowledged it");
    for (watcher, mark) in watchers.iter().zip(marks) {
        let reports = &watcher.reports()[mark..];
        assert!(reports.contains(&Report::Changed(key, lost)), "{reports:?}");
    }
}

/// Else one that was frozen for ten seconds would trust its next look, while others had stopped to wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_confirmed_without_a_recent_beat() {
    let database = database!();
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1)));
    let options = database.options().with_clock(Arc::clone(&clock));
    let store = options.connect().await.unwrap();
    let watcher = Watcher::of(&store);
    let confirmed = || watcher.latest_confirmed() == Some(clock.moment());
    assert!(watcher.wait_until(confirmed).await);

    let mut client = database.client().await;
    let holding = client.transaction().await.unwrap();
    holding
        .batch_execute("SELECT FROM wst_nodes FOR UPDATE")
        .await
        .unwrap();
    clock.advance(Duration::from_secs(3));
    // Several looks' worth: none of them may be confirmed, since the beat waits for the lock.
    tokio::time::sleep(store.lease()).await;
    assert!(!confirmed(), "confirmed without a beat");
    holding.rollback().await.unwrap();
    assert!(watcher.wait_until(confirmed).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_processes_on_a_database_have_the_same_lease() {
    let database = database!();
    let half = Duration::from_millis(500);
    let options = || database.options().with_lease(half);
    let first = database.store().await;
    assert_eq!(first.lease(), Duration::from_secs(1));
    let watcher = Watcher::of(&first);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    let refused = options().connect().await.unwrap_err();
    assert_eq!(refused.kind(), OpenErrorKind::LeaseDiffers);
    drop(watcher);
    first.close().await;

    let second = options().connect().await.unwrap();
    assert_eq!(second.lease(), half);
    let watcher = Watcher::of(&second);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    assert_eq!(
        database.store().await.lease(),
        half,
        "kept where nothing is said"
    );
    drop(watcher);
    second.close().await;
    // One that has crashed is in the way for ten seconds, and no longer.
    database.execute(GHOST).await;
    let third = database.options().with_lease(half * 4);
    assert_eq!(third.connect().await.unwrap().lease(), half * 4);
}

/// Commands end before their feed has begun; others would wait for it until it is buried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_closed_while_it_enters_the_table_leaves_it() {
    let database = database!();
    for millis in 0..30 {
        let store = database.store().await;
        let watcher = Watcher::of(&store);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        drop(watcher);
        store.close().await;
        let there = database.number("SELECT count(*) FROM wst_nodes").await;
        assert_eq!(there, 0, "closed after {millis} ms");
    }
}

/// It would wait for its own lease, while others trust their memory for longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_opened_with_another_lease_writes_nothing() {
    let database = database!();
    let key = slot("primary");
    let early = database.store().await;
    rotate_to(&early, key, 1).await.unwrap();
    let longer = database.options().with_lease(Duration::from_secs(5));
    let late = longer.connect().await.unwrap();
    for name in ["primary", "new"] {
        let next = if name == "new" { 1 } else { 2 };
        let refused = rotate_to(&early, slot(name), next).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "{name}");
        let why = std::error::Error::source(&refused).unwrap().to_string();
        assert!(why.contains("lease"), "{why}");
    }
    assert!(early.get(&slot("new")).await.unwrap().is_none());
    let row = early.get(&key).await.unwrap().unwrap();
    assert_eq!(row.generation, generation(1));
    assert_eq!(early.history(&key).await.unwrap().len(), 1);
    rotate_to(&late, key, 2).await.unwrap();
    rotate_to(&database.store().await, key, 3).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_changed_when_no_write_is_under_way_that_has_read_the_present_one() {
    let database = database!();
    let early = database.named("other").await;
    rotate_to(&early, slot("primary"), 1).await.unwrap();
    let mut client = database.client().await;
    let holding = client.transaction().await.unwrap();
    let lock = "SELECT FROM wst_slots FOR UPDATE";
    holding.batch_execute(lock).await.unwrap();
    let writing = {
        let early = early.clone();
        tokio::spawn(async move { rotate_to(&early, slot("primary"), 2).await })
    };
    until(async || database.number(WAITS).await == 1).await;
    let longer = database.options().with_lease(Duration::from_secs(5));
    let opening = tokio::spawn(longer.connect());
    let waits = "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
         WHERE datname = current_database() AND mode = 'ShareLock' AND NOT granted";
    until(async || database.number(waits).await == 1).await;
    holding.rollback().await.unwrap();
    writing.await.unwrap().unwrap();
    opening.await.unwrap().unwrap();
    assert!(rotate_to(&early, slot("primary"), 3).await.is_err());
}

/// What `schema.rs` relies on of PostgreSQL: a statement takes its snapshot when it has its locks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_waits_for_a_change_of_the_lease_obeys_it() {
    let database = database!();
    let early = database.named("other").await;
    // Often enough for a plan that is kept.
    for number in 1..=8 {
        rotate_to(&early, slot("primary"), number).await.unwrap();
    }
    let mut client = database.client().await;
    let changing = client.transaction().await.unwrap();
    let change = "UPDATE wst_meta SET lease_millis = 5000; LOCK TABLE wst_slots IN SHARE MODE";
    changing.batch_execute(change).await.unwrap();
    let writing = {
        let early = early.clone();
        tokio::spawn(async move { rotate_to(&early, slot("primary"), 9).await })
    };
    until(async || database.number(WAITS).await == 1).await;
    changing.commit().await.unwrap();
    let refused = writing.await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    let row = early.get(&slot("primary")).await.unwrap().unwrap();
    assert_eq!(row.generation, generation(8));
}

/// A journal around the store passes on what the others say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_a_journal_is_told_of_acknowledgements_too() {
    let database = database!();
    let path = std::env::temp_dir().join(format!("wst-pg-journal-{}", std::process::id()));
    let journal = RollbackJournal::create(&path).unwrap();
    let store = JournaledStore::new(database.store().await, journal).unwrap();
    let other = database.store().await;
    let watcher = Watcher::of(&other);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    let keys = Keys::generate().unwrap();
    let authority = TokenAuthority::builder(store, keys).build().unwrap();
    authority.issue(&acme(), &primary()).await.unwrap();
    let receipt = authority.rotate(&acme(), &primary()).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(receipt.ended.others, Others::Acknowledged);
}

/// Prints figures; what is promised is only that the lease is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_rotations_are_known_elsewhere_within_the_lease() {
    let database = database!();
    let keys = Keys::generate().unwrap();
    let (one, other) = (database.store().await, database.store().await);
    let (rotator, checker) = (authority(&one, keys.clone()), authority(&other, keys));
    let mut token = rotator.issue(&acme(), &primary()).await.unwrap();
    let (mut refused_after, mut returned_after) = (Vec::new(), Vec::new());
    let watcher = Watcher::of(&one);
    let (mut mark, mut number) = (watcher.mark(), 1);
    for _ in 0..1000 {
        assert!(accepts(&checker, token.expose_secret()).await);
        number += 1;
        let started = SystemClock.moment();
        let rotation = {
            let rotator = rotator.clone();
            tokio::spawn(async move { rotator.rotate(&acme(), &primary()).await.unwrap() })
        };
        // The store tells its own observers when the row is committed, and before it answers.
        let key = slot("primary");
        let generation = generation(number);
        assert!(watcher.is_told(mark, key, generation).await);
        mark = watcher.mark();
        let committed = SystemClock.moment();
        while accepts(&checker, token.expose_secret()).await {
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
        refused_after.push(SystemClock.moment().saturating_since(committed));
        token = rotation.await.unwrap().token;
        returned_after.push(SystemClock.moment().saturating_since(started));
    }
    let mut read_after = Vec::new();
    for _ in 0..1000 {
        let started = SystemClock.moment();
        one.get(&slot("primary")).await.unwrap();
        read_after.push(SystemClock.moment().saturating_since(started));
    }
    for (name, mut times) in [
        ("a point read", read_after),
        (
            "from commit on one node to refusal on another",
            refused_after,
        ),
        ("rotate, from call to return", returned_after),
    ] {
        times.sort_unstable();
        println!(
            "{name}: p50 {:?}, p99 {:?}, most {:?}",
            times[500], times[990], times[999]
        );
        assert!(times[999] < one.lease() * 2);
    }
}

fn authority(store: &PostgresStore, keys: Keys) -> TokenAuthority {
    TokenAuthority::builder(store.clone(), keys)
        .build()
        .unwrap()
}

/// One that does not look by itself at what is open: it has only the store to tell it.
fn silent_authority(store: &PostgresStore, keys: Keys) -> TokenAuthority {
    let builder = TokenAuthority::builder(store.clone(), keys);
    builder
        .max_staleness(Duration::from_secs(3600))
        .build()
        .unwrap()
}

/// Something that was let in, and goes on.
struct Open {
    lease: Lease,
    ended: Pin<Box<LeaseEnded>>,
}

impl Open {
    fn has_ended(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.ended.as_mut().poll(&mut cx).is_ready()
    }
}

async fn open(authority: &TokenAuthority, workspace: &WorkspaceId, token: &str) -> Open {
    let presented = PresentedToken::new(token.as_bytes());
    let verified = authority.verify(workspace, presented).await.unwrap();
    let lease = verified.lease().clone();
    let mut open = Open {
        ended: Box::pin(lease.ended()),
        lease,
    };
    assert!(!open.has_ended());
    open
}

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

fn primary() -> TokenName {
    TokenName::primary()
}

async fn accepts(authority: &TokenAuthority, token: &str) -> bool {
    let presented = PresentedToken::new(token.as_bytes());
    authority.verify(&acme(), presented).await.is_ok()
}
