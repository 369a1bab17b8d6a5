//! The contract of a store, as every store has to keep it.

use std::cell::RefCell;

use tower_workspace_token::store::{Freshness, conformance};
use tower_workspace_token_sqlite::{LEASE, Options, SqliteStore};

use crate::support::Directory;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_while_the_file_is_shared() {
    let directories = RefCell::new(Vec::new());
    conformance::run(|| async { in_new_directory(&directories, Options::new) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_while_nobody_else_uses_the_file() {
    let directories = RefCell::new(Vec::new());
    conformance::run(|| async {
        in_new_directory(&directories, |path| Options::new(path).exclusive())
    })
    .await;
}

#[tokio::test]
async fn keeps_the_contract_on_a_single_thread() {
    let directories = RefCell::new(Vec::new());
    conformance::run(|| async { in_new_directory(&directories, Options::new) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_file_see_each_others_writes() {
    let directories = RefCell::new(Vec::new());
    conformance::run_shared(|| async {
        let one = in_new_directory(&directories, Options::new);
        let other = SqliteStore::open(one.path()).unwrap();
        (one, other)
    })
    .await;
}

#[tokio::test]
async fn the_lease_says_whether_others_may_hold_one() {
    let directory = Directory::new();
    for (options, shared) in [
        (Options::new(directory.database()), true),
        (Options::new(directory.database()).exclusive(), false),
    ] {
        let watcher = conformance::Watcher::of(&options.open().unwrap());
        let duration = LEASE;
        assert_eq!(watcher.freshness(), Freshness::Lease { duration, shared });
    }
}

fn in_new_directory(
    directories: &RefCell<Vec<Directory>>,
    options: impl FnOnce(std::path::PathBuf) -> Options,
) -> SqliteStore {
    let directory = Directory::new();
    let store = options(directory.database()).open().unwrap();
    directories.borrow_mut().push(directory);
    store
}
