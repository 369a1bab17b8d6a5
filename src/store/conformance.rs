//! The contract of a store as a test suite.
//!
//! Each case is named by the sentence it proves, runs on an empty store of its own, and panics with
//! its name where the store breaks the sentence. The suite asks nothing of a store but what
//! [`TokenStore`] promises, so it runs on yours as it runs on ours:
//!
//! ```
//! use tower_workspace_token::store::{MemoryStore, conformance};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! conformance::run(|| async { MemoryStore::new() }).await;
//! # });
//! # Ok::<_, std::io::Error>(())
//! ```
//!
//! In a test crate, the call is the whole body of a `#[tokio::test(flavor = "multi_thread")]`: on
//! several threads, the races are real ones. Time must be enabled in the runtime, and a store that
//! takes a clock must run on [`SystemClock`](crate::clock::SystemClock), which the suite compares with.

use std::{future::Future, sync::Arc};

use crate::{
    clock::Timestamp,
    id::{Generation, Revision, SlotKey, TokenId},
    store::{HistoryEvent, HistoryEventKind, StoreError, StoreErrorKind, TokenRecord, TokenStore},
    token::SealedToken,
};

mod concurrency;
mod extremes;
mod rows;
mod sharing;
mod watcher;
mod watching;

pub use watcher::{Report, Watcher};

/// Runs the whole suite; `make` is called once per case and returns an empty store.
///
/// # Panics
/// With the name of the case, if the store breaks the contract.
pub async fn run<S: TokenStore, F: Future<Output = S>>(make: impl Fn() -> F) {
    run_rows(&make).await;
    run_watching(&make).await;
}

/// Runs the cases about reading and writing: everything but [`watch`](TokenStore::watch).
///
/// # Panics
/// With the name of the case, if the store breaks the contract.
pub async fn run_rows<S: TokenStore, F: Future<Output = S>>(make: impl Fn() -> F) {
    rows::run(&make).await;
    extremes::run(&make).await;
    concurrency::run(&make).await;
}

/// Runs the cases about [`watch`](TokenStore::watch); there is nothing to prove about a store that is
/// [`Unwatched`](crate::store::Freshness::Unwatched).
///
/// # Panics
/// With the name of the case, if the store breaks the contract.
pub async fn run_watching<S: TokenStore, F: Future<Output = S>>(make: impl Fn() -> F) {
    watching::run(&make).await;
}

/// Runs the cases about two handles on the same rows, as two processes have them; `make` returns a
/// pair on an empty store.
///
/// Not part of [`run`], since not every store can be shared.
///
/// # Panics
/// With the name of the case, if the store breaks the contract.
pub async fn run_shared<S: TokenStore, F: Future<Output = (S, S)>>(make: impl Fn() -> F) {
    sharing::run(&make).await;
}

/// Proves each of the named cases on a store of its own.
macro_rules! prove {
    ($make:ident: $($case:ident)*) => {$(
        $crate::prove::prove_case("store", stringify!($case), $case(Arc::new($make().await))).await;
    )*};
}
use prove;

/// Addresses a slot of the workspace `acme`.
fn slot(name: &str) -> SlotKey {
    slot_of("acme", name)
}

fn slot_of(workspace: &str, name: &str) -> SlotKey {
    SlotKey::new(
        workspace.parse().expect("the suite names workspaces well"),
        name.parse().expect("the suite names slots well"),
    )
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + seconds)
}

fn revision(number: u64) -> Revision {
    Revision::from_number(number).expect("the suite counts from 1")
}

fn generation(number: u64) -> Generation {
    Generation::from_number(number).expect("the suite counts from 1")
}

/// Makes a token id of its own for each `number`.
fn token_id(number: u64) -> TokenId {
    let mut digest = [0; 10];
    digest[..8].copy_from_slice(&number.to_be_bytes());
    TokenId::from_digest(&digest)
}

/// Makes bytes that no other `number` has.
fn sealed(number: u64) -> SealedToken {
    SealedToken::from_bytes(format!("sealed by nobody: {number}").into_bytes())
}

/// Makes the row of a slot that was only ever rotated: its revision is its generation.
fn row(key: SlotKey, number: u64) -> TokenRecord {
    TokenRecord::live(
        key,
        revision(number),
        generation(number),
        token_id(number),
        sealed(number),
        at(number),
    )
}

fn tombstone(key: SlotKey, number: u64) -> TokenRecord {
    TokenRecord::tombstone(
        key,
        revision(number),
        generation(number),
        token_id(number - 1),
        at(number),
    )
}

fn event(kind: HistoryEventKind, number: u64) -> HistoryEvent {
    let mut event = HistoryEvent::new(kind, generation(number), token_id(number), at(number));
    event.actor = Some(format!("actor {number}"));
    event.reason = Some(format!("reason {number}"));
    event
}

/// Writes generation `number` of `key`, rotated from the one before, with its event.
async fn rotate_to<S: TokenStore>(store: &S, key: SlotKey, number: u64) -> Result<(), StoreError> {
    let (expected, kind) = match number {
        1 => (None, HistoryEventKind::Issued),
        _ => (Some(revision(number - 1)), HistoryEventKind::Rotated),
    };
    store
        .compare_and_swap(&key, expected, row(key, number), Some(event(kind, number)))
        .await
}

/// Issues a token in `key` and rotates it until it is at generation `last`.
async fn rotate_up_to<S: TokenStore>(store: &S, key: SlotKey, last: u64) {
    for number in 1..=last {
        rotate_to(store, key, number)
            .await
            .expect("a write with the right revision succeeds");
    }
}

async fn revoke_to<S: TokenStore>(store: &S, key: SlotKey, number: u64) {
    let event = event(HistoryEventKind::Revoked, number);
    store
        .compare_and_swap(
            &key,
            Some(revision(number - 1)),
            tombstone(key, number),
            Some(event),
        )
        .await
        .expect("a revocation with the right revision succeeds");
}

async fn get<S: TokenStore>(store: &S, key: SlotKey) -> Option<TokenRecord> {
    store.get(&key).await.expect("get answers")
}

async fn history<S: TokenStore>(store: &S, key: SlotKey) -> Vec<HistoryEvent> {
    store.history(&key).await.expect("history answers")
}

async fn list<S: TokenStore>(store: &S, workspace: &str) -> Vec<TokenRecord> {
    let workspace = workspace.parse().expect("the suite names workspaces well");
    store.list(&workspace).await.expect("list answers")
}

/// Asserts that a write was refused as a conflict.
fn assert_conflict(result: Result<(), StoreError>, what: &str) {
    match result {
        Err(error) if error.kind() == StoreErrorKind::Conflict => {}
        other => panic!("{what} is a conflict, but the store answered {other:?}"),
    }
}

#[cfg(test)]
mod tests;
