//! Whoever calls `rotate`, `revoke` or `issue` may go away at any moment, and the process may end in the midst of it:
//! one of two states is left, and the authority knows which.
#![expect(
    clippy::unwrap_used,
    reason = "what cannot be set up has failed the test"
)]

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    task::yield_now,
    time::timeout,
};
use tower_workspace_token::{
    Keys, MemoryStore, TokenAuthority, TokenName, TokenStore, WorkspaceId,
    authority::TokenState,
    clock::Timestamp,
    error::ErrorKind,
    id::{Revision, SlotKey},
    store::{ChangeObserver, Freshness, HistoryEvent, StoreError, TokenRecord},
    token::PresentedToken,
};

/// How often the store lets others go first before and after each of its steps.
const PAUSES: usize = 3;

/// More polls than any of the calls takes.
const ENOUGH: usize = 200;

/// A store each of whose steps takes several polls, with the step itself in their midst.
#[derive(Clone, Default)]
struct Slow(MemoryStore);

async fn pause() {
    for _ in 0..PAUSES {
        yield_now().await;
    }
}

impl TokenStore for Slow {
    async fn get(&self, key: &SlotKey) -> Result<Option<TokenRecord>, StoreError> {
        pause().await;
        let found = self.0.get(key).await;
        pause().await;
        found
    }

    async fn compare_and_swap(
        &self,
        key: &SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Result<(), StoreError> {
        pause().await;
        let swapped = self.0.compare_and_swap(key, expected, next, event).await;
        pause().await;
        swapped
    }

    async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<TokenRecord>, StoreError> {
        self.0.list(workspace).await
    }

    async fn history(&self, key: &SlotKey) -> Result<Vec<HistoryEvent>, StoreError> {
        self.0.history(key).await
    }

    async fn touch(&self, used: &[(SlotKey, Timestamp)]) -> Result<(), StoreError> {
        self.0.touch(used).await
    }

    fn watch(&self, observer: ChangeObserver) -> Freshness {
        self.0.watch(observer)
    }
}

/// An authority with one token, which it has seen.
struct Bench {
    store: Slow,
    keys: Keys,
    authority: TokenAuthority,
    token: String,
}

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

impl Bench {
    async fn new() -> Self {
        let (store, keys) = (Slow::default(), Keys::generate().unwrap());
        let authority = authority(&store, &keys);
        let issued = authority
            .issue(&acme(), &TokenName::primary())
            .await
            .unwrap();
        let token = issued.expose_secret().to_owned();
        assert!(accepts(&authority, &token).await);
        Self {
            store,
            keys,
            authority,
            token,
        }
    }

    /// Returns the generation of the row, and whether there is a token.
    async fn state(&self) -> (u64, bool) {
        let listed = self.authority.list(&acme()).await.unwrap();
        let primary = TokenName::primary();
        let slot = listed.iter().find(|slot| slot.name == primary).unwrap();
        let is_live = slot.state == TokenState::Active;
        (slot.generation.number(), is_live)
    }

    /// Sees to it that this process, and one that starts now, hold what the store holds: the first token
    /// while it is of generation 1, and else one that nobody was shown, or none.
    async fn check(&self) -> u64 {
        let (generation, is_live) = self.state().await;
        let is_first = generation == 1;
        for authority in [&self.authority, &authority(&self.store, &self.keys)] {
            assert_eq!(accepts(authority, &self.token).await, is_first);
        }
        // And whatever was left behind is in nobody's way.
        let name = TokenName::primary();
        let next = match is_live {
            true => self.authority.rotate(&acme(), &name).await.unwrap().token,
            false => self.authority.issue(&acme(), &name).await.unwrap(),
        };
        assert_eq!(next.generation().number(), generation + 1);
        assert!(accepts(&self.authority, next.expose_secret()).await);
        assert!(!accepts(&self.authority, &self.token).await);
        generation
    }
}

fn authority(store: &Slow, keys: &Keys) -> TokenAuthority {
    let builder = TokenAuthority::builder(store.clone(), keys.clone());
    builder.build().unwrap()
}

async fn accepts(authority: &TokenAuthority, token: &str) -> bool {
    let presented = PresentedToken::new(token.as_bytes());
    authority.verify(&acme(), presented).await.is_ok()
}

/// What is begun, and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Issue,
    Revoke,
    Rotate,
}

impl Call {
    async fn begin(self, authority: &TokenAuthority) {
        let (workspace, name) = (acme(), TokenName::primary());
        let done = match self {
            // Another slot: this one has a token.
            Self::Issue => {
                let other = "other".parse().unwrap();
                authority.issue(&workspace, &other).await.map(drop)
            }
            Self::Revoke => authority.revoke(&workspace, &name).await.map(drop),
            Self::Rotate => authority.rotate(&workspace, &name).await.map(drop),
        };
        done.unwrap();
    }
}

/// Polls `future` so often and no more; returns whether it was done by then.
async fn poll_times(future: impl Future, times: usize) -> bool {
    let mut future = pin!(future);
    for _ in 0..times {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
        if polled {
            return true;
        }
        // The task that works for it, if it has one.
        yield_now().await;
    }
    false
}

/// A rotation that was begun goes on without its caller; one that was not never happened.
#[tokio::test]
async fn a_rotation_or_revocation_that_is_dropped_at_any_await_goes_on() {
    for call in [Call::Rotate, Call::Revoke] {
        let mut dropped = 0;
        for polls in 0..ENOUGH {
            let bench = Bench::new().await;
            if poll_times(call.begin(&bench.authority), polls).await {
                break;
            }
            dropped += 1;
            let settled = async {
                while bench.state().await.0 == 1 {
                    // Slower than a yield, so that what waits for a timer comes to its turn too.
                    tokio::time::sleep(Duration::from_micros(100)).await;
                }
            };
            match polls {
                0 => assert_eq!(bench.check().await, 1, "nobody asked for it"),
                _ => {
                    timeout(Duration::from_secs(20), settled).await.unwrap();
                    assert_eq!(bench.check().await, 2);
                }
            }
        }
        assert!(
            dropped > 4 * PAUSES,
            "{call:?} was dropped at {dropped} places alone"
        );
    }
}

/// The task itself is dropped at each of its awaits, as it is when a runtime ends.
#[test]
fn a_runtime_that_ends_at_any_await_leaves_one_of_two_states() {
    for call in [Call::Rotate, Call::Revoke] {
        let mut generations = Vec::new();
        for polls in 0..ENOUGH {
            let first = runtime();
            let (bench, is_done) = first.block_on(async {
                let bench = Bench::new().await;
                let is_done = poll_times(call.begin(&bench.authority), polls).await;
                (bench, is_done)
            });
            // With all tasks that it has.
            drop(first);
            generations.push(runtime().block_on(bench.check()));
            if is_done {
                break;
            }
        }
        // First it had not happened, and from some await on it had.
        assert!(generations.is_sorted(), "{generations:?}");
        assert!(generations.first() == Some(&1) && generations.last() == Some(&2));
        assert!(generations.len() > 4 * PAUSES, "{generations:?}");
    }
}

/// Issuing has no task of its own: whoever drops it finds a slot that is empty, or has a token that nobody was shown.
#[tokio::test]
async fn an_issue_that_is_dropped_at_any_await_can_be_made_up_for() {
    let other: TokenName = "other".parse().unwrap();
    let (mut empty, mut lost) = (0, 0);
    for polls in 0..ENOUGH {
        let bench = Bench::new().await;
        if poll_times(Call::Issue.begin(&bench.authority), polls).await {
            break;
        }
        let token = match bench.authority.issue(&acme(), &other).await {
            Ok(issued) => {
                empty += 1;
                issued
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::AlreadyIssued);
                lost += 1;
                bench.authority.rotate(&acme(), &other).await.unwrap().token
            }
        };
        assert!(accepts(&bench.authority, token.expose_secret()).await);
        assert_eq!(bench.check().await, 1, "the slot beside it");
    }
    assert!(
        empty > PAUSES && lost >= PAUSES,
        "{empty} empty, {lost} lost"
    );
}

/// A check that is dropped leaves nothing behind either.
#[tokio::test]
async fn a_check_that_is_dropped_at_any_await_changes_nothing() {
    let mut dropped = 0;
    for polls in 0..ENOUGH {
        let bench = Bench::new().await;
        let cold = authority(&bench.store, &bench.keys);
        if poll_times(accepts(&cold, &bench.token), polls).await {
            break;
        }
        dropped += 1;
        assert!(accepts(&cold, &bench.token).await);
        bench
            .authority
            .rotate(&acme(), &TokenName::primary())
            .await
            .unwrap();
        assert!(!accepts(&cold, &bench.token).await);
    }
    assert!(dropped >= 2 * PAUSES, "{dropped}");
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
