//! A directory per test, and rows to write.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use tower_workspace_token::{
    clock::Timestamp,
    id::{Generation, Revision, SlotKey},
    store::{HistoryEvent, HistoryEventKind, StoreError, TokenRecord, TokenStore},
    token::SealedToken,
};

/// A directory that goes with the value.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wst-sqlite-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The path of the database in this directory.
    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("tokens.db")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _left_behind = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn slot(name: &str) -> SlotKey {
    SlotKey::new("acme".parse().unwrap(), name.parse().unwrap())
}

/// The row of a slot that was only ever rotated: its revision is its generation.
pub(crate) fn row(key: SlotKey, number: u64) -> TokenRecord {
    TokenRecord::live(
        key,
        Revision::from_number(number).unwrap(),
        Generation::from_number(number).unwrap(),
        "mzxw6ytbmzxw6ytb".parse().unwrap(),
        SealedToken::from_bytes(vec![b's'; 350]),
        Timestamp::from_secs(number),
    )
}

/// Writes generation `number` of `key`, with its event.
pub(crate) async fn rotate_to(
    store: &impl TokenStore,
    key: SlotKey,
    number: u64,
) -> Result<(), StoreError> {
    let next = row(key, number);
    let event = HistoryEvent::new(
        HistoryEventKind::Rotated,
        next.generation,
        next.token_id,
        next.changed_at,
    );
    let expected = Revision::from_number(number - 1);
    store
        .compare_and_swap(&key, expected, next, Some(event))
        .await
}

/// Returns the generation of `key`, 0 if there is none, and checks that there is one event for each.
pub(crate) async fn generation(store: &impl TokenStore, key: SlotKey) -> u64 {
    let number = store
        .get(&key)
        .await
        .unwrap()
        .map_or(0, |row| row.generation.number());
    let events = store.history(&key).await.unwrap();
    assert_eq!(events.len() as u64, number, "one event per generation");
    number
}

/// Runs the test `name` of this binary in a process of its own, behind `sh -c PREFIX`, with `database` in its environment.
///
/// The test returns at once unless [`database_of_parent`] says that it was started so.
pub(crate) fn in_child(name: &str, prefix: &str, database: &Path) -> Command {
    let mut child = Command::new("sh");
    let run = format!("{prefix}; exec \"$0\" \"$@\"");
    child.args(["-c", &run]);
    child.arg(std::env::current_exe().unwrap());
    child.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    child.env(DATABASE, database);
    child
}

/// Returns the database that a parent named, if this is a child.
pub(crate) fn database_of_parent() -> Option<PathBuf> {
    std::env::var_os(DATABASE).map(PathBuf::from)
}

const DATABASE: &str = "WST_TEST_DATABASE";
