//! How old the answer of a store may be.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::*;
use crate::{
    Keys, TokenName,
    clock::{Clock as _, ManualClock, Timestamp},
    id::Revision,
    store::{ChangeObserver, HistoryEvent, MemoryStore, TokenStore},
};

const LEASE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_answer_within_the_lease_is_believed() {
    let world = World::new().await;
    world.meanwhile(late(&world, LEASE));
    world.check().await.unwrap();
    assert_eq!(world.reads(), 1);
}

#[tokio::test]
async fn a_late_answer_is_read_once_more() {
    let world = World::new().await;
    world.meanwhile(late(&world, LEASE + A_LITTLE));
    world.check().await.unwrap();
    assert_eq!(world.reads(), 2);
}

/// It was right when it was read, and whoever rotated has long returned.
#[tokio::test]
async fn a_late_answer_does_not_outlive_a_rotation_elsewhere() {
    let world = World::new().await;
    let (elsewhere, late) = (world.elsewhere.clone(), late(&world, LEASE + A_LITTLE));
    world.meanwhile(async move {
        elsewhere.rotate(&acme(), &primary()).await.unwrap();
        late.await;
    });
    let rejection = world.check().await.unwrap_err();
    assert!(matches!(
        rejection.kind(),
        RejectionKind::InvalidToken(TokenProblem::Superseded)
    ));
    assert_eq!(world.reads(), 2);
}

#[tokio::test]
async fn a_store_that_is_late_twice_is_unavailable() {
    let world = World::new().await;
    for _ in 0..2 {
        world.meanwhile(late(&world, LEASE + A_LITTLE));
    }
    let rejection = world.check().await.unwrap_err();
    assert_eq!(*rejection.kind(), RejectionKind::StoreUnavailable);
    assert_eq!(world.reads(), 2);
    // What came late is not believed later either.
    world.meanwhile(async {});
    world.check().await.unwrap();
    assert_eq!(world.reads(), 3);
}

/// The cell has been told of whatever has happened since.
#[tokio::test]
async fn a_late_answer_is_believed_while_the_reports_of_the_store_are_not_late() {
    let world = World::new().await;
    let (late, observer, clock) = (
        late(&world, 10 * LEASE),
        world.store.observer(),
        Arc::clone(&world.clock),
    );
    world.meanwhile(async move {
        late.await;
        observer.confirmed(clock.moment());
    });
    world.check().await.unwrap();
    assert_eq!(world.reads(), 1);
}

#[tokio::test]
async fn an_answer_from_before_a_doubt_is_read_once_more() {
    let world = World::new().await;
    let doubt = || {
        let observer = world.store.observer();
        async move { observer.resync() }
    };
    world.meanwhile(doubt());
    world.check().await.unwrap();
    assert_eq!(world.reads(), 2);
    for _ in 0..2 {
        world.meanwhile(doubt());
    }
    let rejection = world.check().await.unwrap_err();
    assert_eq!(*rejection.kind(), RejectionKind::StoreUnavailable);
}

#[tokio::test]
async fn without_a_lease_no_answer_is_late() {
    for freshness in [Freshness::Immediate, Freshness::Unwatched] {
        let world = World::with(freshness).await;
        world.meanwhile(late(&world, 1000 * LEASE));
        world.check().await.unwrap();
        assert_eq!(world.reads(), 1);
    }
}

const A_LITTLE: Duration = Duration::from_millis(1);

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

fn primary() -> TokenName {
    TokenName::primary()
}

fn late(world: &World, delay: Duration) -> impl Future<Output = ()> + Send + use<> {
    let clock = Arc::clone(&world.clock);
    async move { clock.advance(delay) }
}

/// A token that an authority on `store` has not seen yet, and another authority on the same rows.
struct World {
    store: Slow,
    clock: Arc<ManualClock>,
    authority: TokenAuthority,
    elsewhere: TokenAuthority,
    token: String,
}

impl World {
    async fn new() -> Self {
        Self::with(Freshness::Lease {
            duration: LEASE,
            shared: true,
        })
        .await
    }

    async fn with(freshness: Freshness) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
        let store = Slow {
            rows: MemoryStore::new(),
            freshness,
            shared: Arc::default(),
        };
        let keys = Keys::generate().unwrap();
        let elsewhere = TokenAuthority::builder(store.rows.clone(), keys.clone());
        let elsewhere = elsewhere.build().unwrap();
        let authority = TokenAuthority::builder(store.clone(), keys).clock(Arc::clone(&clock));
        let issued = elsewhere.issue(&acme(), &primary()).await.unwrap();
        Self {
            authority: authority.build().unwrap(),
            token: issued.expose_secret().to_owned(),
            elsewhere,
            clock,
            store,
        }
    }

    /// Has `event` happen while the store answers the next read, whose row it has looked up already.
    fn meanwhile(&self, event: impl Future<Output = ()> + Send + 'static) {
        let mut events = self.store.shared.events.lock().unwrap();
        events.push_back(Box::pin(event));
    }

    async fn check(&self) -> Result<VerifiedToken, Rejection> {
        let presented = PresentedToken::new(self.token.as_bytes());
        self.authority.verify(&acme(), presented).await
    }

    fn reads(&self) -> usize {
        self.store.shared.reads.load(Ordering::SeqCst)
    }
}

/// A memory store that takes its time.
#[derive(Clone)]
struct Slow {
    rows: MemoryStore,
    freshness: Freshness,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    events: Mutex<VecDeque<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    reads: AtomicUsize,
    observer: Mutex<Option<ChangeObserver>>,
}

impl Slow {
    fn observer(&self) -> ChangeObserver {
        let observer = self.shared.observer.lock().unwrap();
        observer.clone().unwrap()
    }
}

impl TokenStore for Slow {
    async fn get(&self, key: &SlotKey) -> Result<Option<TokenRecord>, StoreError> {
        let found = self.rows.get(key).await;
        self.shared.reads.fetch_add(1, Ordering::SeqCst);
        let event = self.shared.events.lock().unwrap().pop_front();
        if let Some(event) = event {
            event.await;
        }
        found
    }

    async fn compare_and_swap(
        &self,
        key: &SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Result<(), StoreError> {
        self.rows.compare_and_swap(key, expected, next, event).await
    }

    async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<TokenRecord>, StoreError> {
        self.rows.list(workspace).await
    }

    async fn history(&self, key: &SlotKey) -> Result<Vec<HistoryEvent>, StoreError> {
        self.rows.history(key).await
    }

    async fn touch(&self, used: &[(SlotKey, Timestamp)]) -> Result<(), StoreError> {
        self.rows.touch(used).await
    }

    fn watch(&self, observer: ChangeObserver) -> Freshness {
        *self.shared.observer.lock().unwrap() = Some(observer);
        self.freshness
    }
}
