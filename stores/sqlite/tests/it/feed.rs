//! What the feed says of a file that others change, and when its thread and the others end.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tower_workspace_token::{
    clock::{Clock, ManualClock, Moment, SystemClock, Timestamp},
    id::Generation,
    store::{
        StoreErrorKind, TokenStore,
        conformance::{Report, Watcher},
    },
};
use tower_workspace_token_sqlite::{Options, SqliteStore};

use crate::support::{Directory, rotate_to, slot};

#[tokio::test]
async fn an_older_state_that_was_restored_makes_everything_doubtful() {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.database()).unwrap();
    for number in 1..=3 {
        rotate_to(&store, slot("primary"), number).await.unwrap();
    }
    let watcher = Watcher::of(&store);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);

    let mark = watcher.mark();
    let connection = store.connection().unwrap();
    connection
        .execute_batch("UPDATE wst_slots SET revision = 2, generation = 2, change = 2")
        .unwrap();
    let doubted = || watcher.reports()[mark..].contains(&Report::Resync);
    assert!(watcher.wait_until(doubted).await);

    let mark = watcher.mark();
    rotate_to(&store, slot("primary"), 3).await.unwrap_err();
    connection
        .execute_batch("UPDATE wst_slots SET revision = 9, generation = 9, change = 3")
        .unwrap();
    let ninth = Generation::from_number(9).unwrap();
    assert!(watcher.is_told(mark, slot("primary"), ninth).await);
}

#[tokio::test]
async fn a_file_that_was_replaced_is_neither_confirmed_nor_read() {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.database()).unwrap();
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    let watcher = Watcher::of(&store);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);

    let other = directory.path().join("other.db");
    drop(SqliteStore::open(&other).unwrap());
    fs::rename(&other, directory.database()).unwrap();

    let error = loop {
        match store.get(&slot("primary")).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let error = rotate_to(&store, slot("primary"), 2).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    let last = watcher.latest_confirmed();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(watcher.latest_confirmed(), last);
}

#[tokio::test]
async fn confirmed_moments_are_read_from_the_given_clock() {
    let directory = Directory::new();
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1)));
    let options = Options::new(directory.database()).with_clock(Arc::clone(&clock));
    let watcher = Watcher::of(&options.open().unwrap());
    drop(watcher);

    let store = Options::new(directory.database())
        .with_clock(Arc::clone(&clock))
        .open()
        .unwrap();
    let watcher = Watcher::of(&store);
    let hour = std::time::Duration::from_secs(3600);
    assert!(
        watcher
            .wait_until(|| watcher.latest_confirmed().is_some())
            .await
    );
    assert_eq!(watcher.latest_confirmed(), Some(clock.moment()));
    clock.advance(hour);
    let advanced = || watcher.latest_confirmed() == Some(Moment::from_start(hour));
    assert!(watcher.wait_until(advanced).await);
}

#[tokio::test]
async fn the_feed_ends_when_nobody_watches_and_begins_again() {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.database()).unwrap();
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    let unwatched = logs(directory.path());
    for number in 2..=4 {
        let watcher = Watcher::of(&store);
        assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
        assert!(logs(directory.path()) > unwatched);
        rotate_to(&store, slot("primary"), number).await.unwrap();
        drop(watcher);
        until(|| logs(directory.path()) <= unwatched).await;
    }
}

#[tokio::test]
async fn dropping_the_store_ends_its_threads_and_closes_the_file() {
    let directory = Directory::new();
    for number in 1..=5 {
        let store = SqliteStore::open(directory.database()).unwrap();
        let watcher = Watcher::of(&store);
        rotate_to(&store, slot("primary"), number).await.unwrap();
        store.list(&slot("primary").workspace).await.unwrap();
        drop(store);
        assert!(open_files(directory.path()).is_empty());
        drop(watcher);
    }
}

#[tokio::test]
async fn the_store_can_be_dropped_on_its_own_thread() {
    let directory = Directory::new();
    let clock = Arc::new(DroppingClock::default());
    let options = Options::new(directory.database()).with_clock(Arc::clone(&clock));
    let store = options.open().unwrap();
    let watcher = Watcher::of(&store);
    *clock.dropped_when_asked.lock().unwrap() = Some(store);
    until(|| open_files(directory.path()).is_empty()).await;
    drop(watcher);
}

/// A clock that drops a store when it is asked for the time, which the feed's thread does.
#[derive(Debug, Default)]
struct DroppingClock {
    dropped_when_asked: Mutex<Option<SqliteStore>>,
}

impl Clock for DroppingClock {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn moment(&self) -> Moment {
        let dropped = self.dropped_when_asked.lock().unwrap().take();
        drop(dropped);
        SystemClock.moment()
    }
}

/// Counts the connections to the database in `directory`: each has the log open.
///
/// Not the database itself, which SQLite keeps open for the next connection while there are others.
fn logs(directory: &Path) -> usize {
    let files = open_files(directory).into_iter();
    files
        .filter(|file| file.to_string_lossy().ends_with("-wal"))
        .count()
}

/// Returns the files in `directory` that this process has open.
fn open_files(directory: &Path) -> Vec<PathBuf> {
    let descriptors = fs::read_dir("/proc/self/fd").expect("tests run where there is /proc");
    let files = descriptors.filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok());
    files.filter(|file| file.starts_with(directory)).collect()
}

/// Waits for a condition that nothing reports.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the condition did not come true");
}
