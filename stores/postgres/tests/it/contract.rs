//! The contract of a store, as every store has to keep it.

use std::time::Duration;

use tower_workspace_token::store::{Freshness, conformance};
use tower_workspace_token_postgres::{Options, PostgresStore};

use crate::support::database;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let database = database!();
    conformance::run(|| async { open(&database.url_of_new_schema().await).await }).await;
}

#[tokio::test]
async fn keeps_the_contract_on_a_single_thread() {
    let database = database!();
    conformance::run(|| async { open(&database.url_of_new_schema().await).await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_database_see_each_others_writes() {
    let database = database!();
    conformance::run_shared(|| async {
        let url = database.url_of_new_schema().await;
        (open(&url).await, open(&url).await)
    })
    .await;
}

#[tokio::test]
async fn the_lease_is_shared_and_that_of_the_database() {
    let database = database!();
    let store = database.store().await;
    let watcher = conformance::Watcher::of(&store);
    let duration = Duration::from_secs(1);
    let shared = true;
    assert_eq!(watcher.freshness(), Freshness::Lease { duration, shared });
}

async fn open(url: &str) -> PostgresStore {
    let options = Options::new(url).with_pool_size(4);
    options.connect().await.unwrap()
}
