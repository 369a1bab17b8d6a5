//! Rotation under fire: what may still happen after `rotate` has returned, measured on several threads.
#![expect(
    clippy::unwrap_used,
    reason = "what cannot be set up has failed the test"
)]

use std::{
    convert::Infallible,
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Empty, Full};
use tokio::{
    sync::Notify,
    task::yield_now,
    time::{sleep, timeout},
};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_workspace_token::{
    Keys, MemoryStore, TokenAuthority, TokenName, TokenStore, VerifiedToken, WorkspaceId,
    WorkspaceTokenLayer,
    authority::RotationReceipt,
    clock::{Clock as _, Moment, SystemClock, Timestamp},
    error::ErrorKind,
    id::{Revision, SlotKey},
    layer::{FixedWorkspace, GuardedBody},
    store::{ChangeObserver, Freshness, HistoryEvent, StoreError, StoreErrorKind, TokenRecord},
    token::PresentedToken,
};

/// How long a rotation waits for what the old token left open.
const GRACE: Duration = Duration::from_millis(500);

/// More than any rotation takes, also on a machine that is busy with other things.
const LONG: Duration = Duration::from_secs(20);

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

fn authority_over(store: impl TokenStore) -> TokenAuthority {
    TokenAuthority::builder(store, Keys::generate().unwrap())
        .build()
        .unwrap()
}

async fn issue(authority: &TokenAuthority) -> String {
    let issued = authority.issue(&acme(), &TokenName::primary()).await;
    issued.unwrap().expose_secret().to_owned()
}

async fn rotate(authority: &TokenAuthority) -> RotationReceipt {
    let (workspace, name) = (acme(), TokenName::primary());
    let rotation = authority.rotate(&workspace, &name);
    timeout(LONG, rotation).await.expect("it returns").unwrap()
}

async fn accepts(authority: &TokenAuthority, token: &str) -> bool {
    let presented = PresentedToken::new(token.as_bytes());
    authority.verify(&acme(), presented).await.is_ok()
}

fn request(token: &str) -> Request<Empty<Bytes>> {
    Request::get("/")
        .header(header::HOST, "a.test")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Empty::new())
        .unwrap()
}

fn protect<S, F, B>(
    authority: &TokenAuthority,
    handler: S,
) -> impl Service<
    Request<Empty<Bytes>>,
    Response = Response<GuardedBody<B>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ use<S, F, B>
where
    S: Fn(VerifiedToken) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
{
    let inner = service_fn(move |request: Request<Empty<Bytes>>| {
        let token = request.extensions().get::<VerifiedToken>().cloned();
        let response = handler(token.expect("the layer has verified it"));
        async move { Ok::<_, Infallible>(response.await) }
    });
    WorkspaceTokenLayer::new(authority.clone(), FixedWorkspace(acme())).layer(inner)
}

/// The tokens of all generations so far, and up to which one rotations have returned.
#[derive(Default)]
struct Generations {
    tokens: RwLock<Vec<Arc<str>>>,
    dead: AtomicUsize,
}

impl Generations {
    fn token(&self, index: usize) -> Arc<str> {
        Arc::clone(&self.tokens.read().unwrap()[index])
    }

    fn push(&self, token: &str) {
        self.tokens.write().unwrap().push(token.into());
    }

    fn newest(&self) -> Arc<str> {
        self.tokens.read().unwrap().last().unwrap().clone()
    }
}

/// Rule 20: each check that began after `rotate` had returned fails. Half of the tasks keep the slot warm
/// with the newest token, so that memory is full of what is about to die.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn none_of_100_000_racing_checks_accepts_a_token_after_its_rotation_returned() {
    const CHECKS: usize = 100_000;
    let authority = authority_over(MemoryStore::new());
    let generations = Arc::new(Generations::default());
    generations.push(&issue(&authority).await);
    let [late, accepted, fresh] = [(); 3].map(|()| Arc::<AtomicUsize>::default());
    let mut tasks = Vec::new();
    for task in 0..6 {
        let service = protect(&authority, async |_| Response::new(Empty::<Bytes>::new()));
        let generations = Arc::clone(&generations);
        let [late, accepted, fresh] = [&late, &accepted, &fresh].map(Arc::clone);
        tasks.push(tokio::spawn(async move {
            while late.load(Ordering::Relaxed) < CHECKS {
                // Read before the check begins: what is dead here has to be refused.
                let dead = generations.dead.load(Ordering::SeqCst);
                let is_late = task % 2 == 0 && dead > 0;
                let token = if is_late {
                    generations.token(dead - 1)
                } else {
                    generations.newest()
                };
                let response = service.clone().oneshot(request(&token)).await.unwrap();
                let is_let_in = response.status() == StatusCode::OK;
                if is_late {
                    late.fetch_add(1, Ordering::Relaxed);
                    accepted.fetch_add(usize::from(is_let_in), Ordering::Relaxed);
                } else {
                    fresh.fetch_add(usize::from(is_let_in), Ordering::Relaxed);
                }
                yield_now().await;
            }
        }));
    }
    let mut rotations = 0;
    while late.load(Ordering::Relaxed) < CHECKS {
        let receipt = rotate(&authority).await;
        rotations += 1;
        generations.dead.store(rotations, Ordering::SeqCst);
        generations.push(receipt.token.expose_secret());
        sleep(Duration::from_millis(2)).await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    let (late, accepted) = (late.load(Ordering::SeqCst), accepted.load(Ordering::SeqCst));
    let fresh = fresh.load(Ordering::SeqCst);
    eprintln!(
        "{late} late checks over {rotations} rotations: {accepted} accepted; {fresh} of live tokens"
    );
    assert_eq!(accepted, 0);
    assert!(
        rotations >= 20 && fresh > 1_000,
        "the control: {rotations} rotations, {fresh} let in"
    );
}

/// Gives frames without pause, and notes the polls that were under way when the rotation had returned.
struct Firehose {
    has_returned: Arc<AtomicBool>,
    late: Arc<AtomicUsize>,
}

impl Body for Firehose {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::hint::black_box((0..200).sum::<u64>());
        // At the end of the poll: not even one that had begun before may outlast the rotation.
        let is_late = self.has_returned.load(Ordering::SeqCst);
        self.late.fetch_add(usize::from(is_late), Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"frame")))))
    }
}

/// Rule 20: no frame leaves a stream after the reply, though every poll would have one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_frame_of_an_old_stream_comes_after_the_reply() {
    const STREAMS: usize = 8;
    let authority = authority_over(MemoryStore::new());
    let mut token = issue(&authority).await;
    for round in 0..20 {
        let has_returned = Arc::<AtomicBool>::default();
        let [late, before] = [(); 2].map(|()| Arc::<AtomicUsize>::default());
        let (flag, polls) = (Arc::clone(&has_returned), Arc::clone(&late));
        let service = protect(&authority, move |_| {
            let body = Firehose {
                has_returned: Arc::clone(&flag),
                late: Arc::clone(&polls),
            };
            async move { Response::new(body) }
        });
        let mut readers = Vec::new();
        for _ in 0..STREAMS {
            let response = service.clone().oneshot(request(&token)).await.unwrap();
            let mut body = response.into_body();
            let has_returned = Arc::clone(&has_returned);
            let [late, before] = [&late, &before].map(Arc::clone);
            readers.push(tokio::spawn(async move {
                loop {
                    let is_late = has_returned.load(Ordering::SeqCst);
                    let Some(frame) = body.frame().await else {
                        return;
                    };
                    assert_eq!(frame.unwrap().into_data().unwrap(), "frame");
                    late.fetch_add(usize::from(is_late), Ordering::SeqCst);
                    if before.fetch_add(1, Ordering::Relaxed) % 64 == 0 {
                        yield_now().await;
                    }
                }
            }));
        }
        sleep(Duration::from_millis(10)).await;
        let receipt = rotate(&authority).await;
        has_returned.store(true, Ordering::SeqCst);
        for reader in readers {
            timeout(LONG, reader)
                .await
                .expect("the stream ends")
                .unwrap();
        }
        assert_eq!(late.load(Ordering::SeqCst), 0, "round {round}");
        assert!(
            before.load(Ordering::SeqCst) > STREAMS,
            "the control: there were frames"
        );
        assert_eq!(
            (receipt.ended.streams, receipt.ended.left_behind),
            (STREAMS, 0),
            "round {round}"
        );
        token = receipt.token.expose_secret().to_owned();
    }
}

/// Rule 20: calls that are running are answered, in time and with what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_calls_are_answered_with_a_401_within_the_grace() {
    const CALLS: usize = 20;
    let authority = authority_over(MemoryStore::new());
    let token = issue(&authority).await;
    let begun = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&begun);
    let service = protect(&authority, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        pending::<Response<Empty<Bytes>>>()
    });
    let calls: Vec<_> = (0..CALLS)
        .map(|_| tokio::spawn(service.clone().oneshot(request(&token))))
        .collect();
    while begun.load(Ordering::SeqCst) < CALLS {
        sleep(Duration::from_millis(1)).await;
    }
    // They have begun; give the last of them the time to be waiting.
    sleep(Duration::from_millis(50)).await;
    let receipt = rotate(&authority).await;
    assert_eq!((receipt.ended.calls, receipt.ended.left_behind), (CALLS, 0));
    assert!(receipt.ended.elapsed < GRACE, "{:?}", receipt.ended);
    for call in calls {
        let response = timeout(LONG, call).await.unwrap().unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let challenge = response.headers()[header::WWW_AUTHENTICATE]
            .to_str()
            .unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains("regenerated"));
    }
}

/// Rule 20: who does not read does not hold a rotation up, is counted, and gets nothing more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_nobody_reads_hold_a_rotation_for_500_ms_at_most_and_are_counted() {
    let authority = authority_over(MemoryStore::new());
    let token = issue(&authority).await;
    let late = Arc::<AtomicUsize>::default();
    let polls = Arc::clone(&late);
    let service = protect(&authority, move |_| {
        let body = Firehose {
            has_returned: Arc::default(),
            late: Arc::clone(&polls),
        };
        async move { Response::new(body) }
    });
    let mut unread = Vec::new();
    for _ in 0..3 {
        unread.push(
            service
                .clone()
                .oneshot(request(&token))
                .await
                .unwrap()
                .into_body(),
        );
    }
    let started = SystemClock.moment();
    let receipt = rotate(&authority).await;
    let taken = since(started);
    assert_eq!((receipt.ended.streams, receipt.ended.left_behind), (3, 3));
    assert!(taken >= GRACE && taken < 3 * GRACE, "{taken:?}");
    for mut body in unread {
        assert!(body.frame().await.is_none());
    }
}

/// Rule 20: a caller who goes away leaves no commit unobserved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_rotation_goes_on() {
    let store = Manual::default();
    let authority = authority_over(store.clone());
    let token = issue(&authority).await;
    assert!(accepts(&authority, &token).await);
    store.0.holds.store(true, Ordering::SeqCst);
    {
        let name = TokenName::primary();
        let workspace = acme();
        let mut rotation = pin!(authority.rotate(&workspace, &name));
        // Polled until the write is under way, then dropped.
        poll_fn(|cx| {
            assert!(rotation.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        timeout(LONG, store.0.arrived.notified()).await.unwrap();
    }
    assert!(
        accepts(&authority, &token).await,
        "the control: nothing was committed yet"
    );
    store.0.proceed.notify_one();
    let dead = async {
        while accepts(&authority, &token).await {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, dead)
        .await
        .expect("the rotation was finished without its caller");
}

/// Rule 23: a store that has committed and does not say so leaves one token alive, the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ambiguous_commit_that_happened_counts_as_one() {
    let store = Manual::default();
    let authority = authority_over(store.clone());
    let old = issue(&authority).await;
    assert!(accepts(&authority, &old).await);
    store.0.is_ambiguous.store(true, Ordering::SeqCst);
    let receipt = rotate(&authority).await;
    assert!(!accepts(&authority, &old).await);
    assert!(accepts(&authority, receipt.token.expose_secret()).await);
}

/// Rule 23: if it did not happen, the old token is still the one, and the caller knows that it is not known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ambiguous_commit_that_did_not_happen_changes_nothing() {
    let store = Manual::default();
    let authority = authority_over(store.clone());
    let old = issue(&authority).await;
    store.0.is_ambiguous.store(true, Ordering::SeqCst);
    store.0.is_lost.store(true, Ordering::SeqCst);
    let error = authority
        .rotate(&acme(), &TokenName::primary())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous);
    assert!(accepts(&authority, &old).await);
}

/// A rotation that is asked for inside of a call of the very token neither waits for that call forever,
/// nor is it undone when the layer drops the call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_may_rotate_its_own_token() {
    let authority = authority_over(MemoryStore::new());
    let token = issue(&authority).await;
    let own = authority.clone();
    let service = protect(&authority, move |token: VerifiedToken| {
        let own = own.clone();
        async move {
            own.rotate(token.workspace(), token.name()).await.unwrap();
            Response::new(Full::<Bytes>::from("rotated"))
        }
    });
    let response = timeout(LONG, service.oneshot(request(&token)))
        .await
        .expect("no deadlock");
    assert_eq!(response.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert!(!accepts(&authority, &token).await);
    // The task that rotates is not the handler's: it has finished, or is about to.
    rotate(&authority).await;
}

/// Rule 20: what a handler does between two waits is over before the rotation returns, whether it looks
/// at its lease or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_side_effect_of_a_running_handler_comes_after_the_reply() {
    let authority = authority_over(MemoryStore::new());
    let mut token = issue(&authority).await;
    for round in 0..20 {
        let has_returned = Arc::<AtomicBool>::default();
        let [done, late] = [(); 2].map(|()| Arc::<AtomicU64>::default());
        let (flag, effects, bad) = (
            Arc::clone(&has_returned),
            Arc::clone(&done),
            Arc::clone(&late),
        );
        let service = protect(&authority, move |token: VerifiedToken| {
            let (flag, effects, bad) = (Arc::clone(&flag), Arc::clone(&effects), Arc::clone(&bad));
            async move {
                loop {
                    if round % 2 == 0 && !token.lease().is_live() {
                        pending::<()>().await;
                    }
                    // The side effect, and when it was over.
                    effects.fetch_add(1, Ordering::SeqCst);
                    std::hint::black_box((0..2_000).sum::<u64>());
                    bad.fetch_add(u64::from(flag.load(Ordering::SeqCst)), Ordering::SeqCst);
                    yield_now().await;
                }
                #[expect(unreachable_code, reason = "gives the future its type")]
                Response::new(Empty::<Bytes>::new())
            }
        });
        let calls: Vec<_> = (0..8)
            .map(|_| tokio::spawn(service.clone().oneshot(request(&token))))
            .collect();
        while done.load(Ordering::SeqCst) < 100 {
            sleep(Duration::from_millis(1)).await;
        }
        let receipt = rotate(&authority).await;
        has_returned.store(true, Ordering::SeqCst);
        let after = done.load(Ordering::SeqCst);
        for call in calls {
            let response = timeout(LONG, call).await.unwrap().unwrap().unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        }
        assert_eq!(done.load(Ordering::SeqCst), after, "round {round}");
        assert_eq!(late.load(Ordering::SeqCst), 0, "round {round}");
        token = receipt.token.expose_secret().to_owned();
    }
}

/// Rule 20: likewise a handler that never waits, and so is in nobody's list while it runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_handler_that_never_waits_is_still_running_after_the_reply() {
    let authority = authority_over(MemoryStore::new());
    let generations = Arc::new(Generations::default());
    generations.push(&issue(&authority).await);
    let [dead, late, done] = [(); 3].map(|()| Arc::<AtomicU64>::default());
    let (returned, bad, effects) = (Arc::clone(&dead), Arc::clone(&late), Arc::clone(&done));
    let service = protect(&authority, move |token: VerifiedToken| {
        let (returned, bad, effects) = (
            Arc::clone(&returned),
            Arc::clone(&bad),
            Arc::clone(&effects),
        );
        async move {
            std::hint::black_box((0..10_000).sum::<u64>());
            effects.fetch_add(1, Ordering::SeqCst);
            let is_late = returned.load(Ordering::SeqCst) >= token.generation().number();
            bad.fetch_add(u64::from(is_late), Ordering::SeqCst);
            Response::new(Empty::<Bytes>::new())
        }
    });
    let is_over = Arc::<AtomicBool>::default();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (service, generations) = (service.clone(), Arc::clone(&generations));
            let is_over = Arc::clone(&is_over);
            tokio::spawn(async move {
                while !is_over.load(Ordering::SeqCst) {
                    let call = service.clone().oneshot(request(&generations.newest()));
                    call.await.unwrap();
                    yield_now().await;
                }
            })
        })
        .collect();
    for generation in 1..=200 {
        let before = done.load(Ordering::SeqCst);
        while done.load(Ordering::SeqCst) < before + 4 {
            sleep(Duration::from_micros(200)).await;
        }
        let receipt = rotate(&authority).await;
        dead.store(generation, Ordering::SeqCst);
        generations.push(receipt.token.expose_secret());
    }
    is_over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(late.load(Ordering::SeqCst), 0, "of {done:?}");
}

/// Rule 20: a call that nobody polled in time is counted, and does not go on when somebody does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_left_behind_does_not_go_on() {
    let authority = authority_over(MemoryStore::new());
    let token = issue(&authority).await;
    let done = Arc::<AtomicUsize>::default();
    let effects = Arc::clone(&done);
    let service = protect(&authority, move |_| {
        let effects = Arc::clone(&effects);
        poll_fn(move |_| -> Poll<Response<Empty<Bytes>>> {
            effects.fetch_add(1, Ordering::SeqCst);
            Poll::Pending
        })
    });
    let mut call = pin!(service.oneshot(request(&token)));
    while done.load(Ordering::SeqCst) == 0 {
        assert!(timeout(Duration::from_millis(10), &mut call).await.is_err());
    }
    let receipt = rotate(&authority).await;
    assert_eq!((receipt.ended.calls, receipt.ended.left_behind), (1, 1));
    let before = done.load(Ordering::SeqCst);
    let response = timeout(LONG, call).await.expect("it is answered");
    assert_eq!(response.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(done.load(Ordering::SeqCst), before);
}

/// Of many rotations at once, each that succeeded made a token; the last one of them lives, alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_rotations_at_once_one_token_is_left() {
    let authority = authority_over(MemoryStore::new());
    let mut tokens = vec![issue(&authority).await];
    let rotations: Vec<_> = (0..32)
        .map(|_| {
            let authority = authority.clone();
            tokio::spawn(async move { authority.rotate(&acme(), &TokenName::primary()).await })
        })
        .collect();
    for rotation in rotations {
        match rotation.await.unwrap() {
            Ok(receipt) => tokens.push(receipt.token.expose_secret().to_owned()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        }
    }
    let mut alive = 0;
    for token in &tokens {
        alive += usize::from(accepts(&authority, token).await);
    }
    assert_eq!(alive, 1, "of {}", tokens.len());
}

fn since(started: Moment) -> Duration {
    SystemClock.moment().saturating_since(started)
}

/// A memory store whose writes a test holds up, loses, or leaves unconfirmed.
#[derive(Clone, Default)]
struct Manual(Arc<Switches>);

#[derive(Default)]
struct Switches {
    rows: MemoryStore,
    holds: AtomicBool,
    arrived: Notify,
    proceed: Notify,
    is_ambiguous: AtomicBool,
    is_lost: AtomicBool,
}

impl TokenStore for Manual {
    async fn get(&self, key: &SlotKey) -> Result<Option<TokenRecord>, StoreError> {
        self.0.rows.get(key).await
    }

    async fn compare_and_swap(
        &self,
        key: &SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Result<(), StoreError> {
        if self.0.holds.load(Ordering::SeqCst) {
            self.0.arrived.notify_one();
            self.0.proceed.notified().await;
        }
        if !self.0.is_lost.load(Ordering::SeqCst) {
            self.0
                .rows
                .compare_and_swap(key, expected, next, event)
                .await?;
        }
        if self.0.is_ambiguous.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Ambiguous));
        }
        Ok(())
    }

    async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<TokenRecord>, StoreError> {
        self.0.rows.list(workspace).await
    }

    async fn history(&self, key: &SlotKey) -> Result<Vec<HistoryEvent>, StoreError> {
        self.0.rows.history(key).await
    }

    async fn touch(&self, used: &[(SlotKey, Timestamp)]) -> Result<(), StoreError> {
        self.0.rows.touch(used).await
    }

    /// Reports nothing by itself: what the authority knows it knows from its own writes.
    fn watch(&self, _observer: ChangeObserver) -> Freshness {
        Freshness::Immediate
    }
}
