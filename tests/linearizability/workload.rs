//! What the threads do, and how they note it.

use std::{
    collections::HashSet,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Empty};
use tokio::task::yield_now;
use tower::{BoxError, Layer as _, ServiceExt as _, service_fn, util::BoxCloneSyncService};
use tower_workspace_token::{
    Keys, MemoryStore, SessionLayer, TokenAuthority, TokenName, TokenStore, WorkspaceId,
    WorkspaceTokenLayer,
    clock::Timestamp,
    error::{Error, ErrorKind},
    id::{Revision, SlotKey},
    layer::FixedWorkspace,
    store::{ChangeObserver, Freshness, HistoryEvent, StoreError, TokenRecord},
    token::{IssuedToken, PresentedToken},
};

use crate::slot::{Act, Event, Outcome};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// Whose memory answers checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// One that whoever wrote the test keeps, and that no rotation reaches.
    OfItsOwn,
    TheAuthoritys,
}

type Service = BoxCloneSyncService<Request<Empty<Bytes>>, Response<Frames>, Infallible>;
type Frames = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

/// One slot, and all that was seen of it.
struct Bench {
    authority: TokenAuthority,
    service: Service,
    workspace: WorkspaceId,
    name: TokenName,
    memory: Memory,
    accepted: Mutex<HashSet<u64>>,
    tokens: Mutex<Vec<(u64, String)>>,
    sessions: Mutex<Vec<(u64, HeaderValue)>>,
    ticks: AtomicU64,
    history: Mutex<Vec<Event>>,
}

/// Lets several tasks loose on a slot, and returns what they saw.
pub(crate) async fn record(store: impl TokenStore, seed: u64, memory: Memory) -> Vec<Event> {
    let bench = Arc::new(Bench::new(store, memory));
    bench.change(Act::Issue).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..5 {
        let (bench, random) = (Arc::clone(&bench), Random(seed * 8 + task + 1));
        match task {
            0 | 1 => tasks.spawn(async move { bench.work(random, 3).await }),
            2 | 3 => tasks.spawn(async move { bench.look(random, 9).await }),
            _ => tasks.spawn(async move { bench.read(9).await }),
        };
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    std::mem::take(&mut *bench.history.lock().unwrap())
}

impl Bench {
    fn new(store: impl TokenStore, memory: Memory) -> Self {
        let authority = TokenAuthority::builder(store, Keys::generate().unwrap())
            .build()
            .unwrap();
        let workspace: WorkspaceId = "acme".parse().unwrap();
        let tokens = WorkspaceTokenLayer::new(authority.clone(), FixedWorkspace(workspace));
        let sessions = SessionLayer::new(authority.clone());
        let guarded = tokens.layer(sessions.layer(service_fn(serve)));
        let boxed = guarded.map_response(|response| {
            response.map(|body| Box::pin(body.map_err(BoxError::from)) as Frames)
        });
        Self {
            authority,
            service: BoxCloneSyncService::new(boxed),
            workspace,
            name: TokenName::primary(),
            memory,
            accepted: Mutex::default(),
            tokens: Mutex::default(),
            sessions: Mutex::default(),
            ticks: AtomicU64::new(0),
            history: Mutex::default(),
        }
    }

    /// Notes what an act came to, and between which ticks it did.
    async fn note(&self, act: Act, happens: impl Future<Output = Outcome>) -> Outcome {
        let began = self.ticks.fetch_add(1, Ordering::SeqCst);
        let outcome = happens.await;
        let ended = self.ticks.fetch_add(1, Ordering::SeqCst);
        let event = Event {
            act,
            outcome,
            began,
            ended,
        };
        self.history.lock().unwrap().push(event);
        outcome
    }

    async fn work(&self, mut random: Random, times: usize) {
        for _ in 0..times {
            let act = match random.below(4) {
                0 => Act::Revoke,
                1 => Act::Issue,
                _ => Act::Rotate,
            };
            self.change(act).await;
            random.pause().await;
        }
    }

    async fn change(&self, act: Act) {
        let (workspace, name) = (&self.workspace, &self.name);
        let happens = async {
            let done = match act {
                Act::Issue => self
                    .authority
                    .issue(workspace, name)
                    .await
                    .map(|token| self.keep(token)),
                Act::Rotate => {
                    let rotated = self.authority.rotate(workspace, name).await;
                    rotated.map(|receipt| self.keep(receipt.token))
                }
                _ => {
                    let revoked = self.authority.revoke(workspace, name).await;
                    revoked.map(|receipt| receipt.generation.number())
                }
            };
            done.map_or_else(|error| failure(&error), Outcome::Became)
        };
        self.note(act, happens).await;
    }

    fn keep(&self, token: IssuedToken) -> u64 {
        let generation = token.generation().number();
        let text = token.expose_secret().to_owned();
        self.tokens.lock().unwrap().push((generation, text));
        generation
    }

    async fn look(&self, mut random: Random, times: usize) {
        for _ in 0..times {
            let (token, text) = random.recent(&self.tokens);
            match random.below(3) {
                0 => self.check(token, &text).await,
                1 => self.mint(token, &text).await,
                _ if self.sessions.lock().unwrap().is_empty() => self.check(token, &text).await,
                _ => {
                    let (session, id) = random.recent(&self.sessions);
                    self.use_session(token, &text, session, id).await;
                }
            }
            random.pause().await;
        }
    }

    async fn check(&self, token: u64, text: &str) {
        let happens = async {
            let is_remembered = self.accepted.lock().unwrap().contains(&token);
            if self.memory == Memory::OfItsOwn && is_remembered {
                return Outcome::Accepted;
            }
            let presented = PresentedToken::new(text.as_bytes());
            match self.authority.verify(&self.workspace, presented).await {
                Ok(_) => {
                    self.accepted.lock().unwrap().insert(token);
                    Outcome::Accepted
                }
                Err(_) => Outcome::Refused,
            }
        };
        self.note(Act::Check { token }, happens).await;
    }

    async fn mint(&self, token: u64, text: &str) {
        let happens = async {
            let response = self.send("/", text, None).await;
            match response.headers().get(SESSION_ID) {
                Some(id) => {
                    self.sessions.lock().unwrap().push((token, id.clone()));
                    Outcome::Accepted
                }
                None => outcome(response.status()),
            }
        };
        self.note(Act::Mint { token }, happens).await;
    }

    async fn use_session(&self, token: u64, text: &str, session: u64, id: HeaderValue) {
        let happens = async { outcome(self.send("/", text, Some(id)).await.status()) };
        self.note(Act::Use { token, session }, happens).await;
    }

    /// Reads a stream, frame after frame, until it ends, and then one of the newest token.
    async fn read(&self, mut frames: usize) {
        while frames > 0 {
            let (token, text) = self.tokens.lock().unwrap().last().unwrap().clone();
            let mut stream = None;
            let opens = async {
                let response = self.send("/stream", &text, None).await;
                let outcome = outcome(response.status());
                stream = (outcome == Outcome::Accepted).then(|| response.into_body());
                outcome
            };
            self.note(Act::Check { token }, opens).await;
            frames -= 1;
            let Some(mut stream) = stream else { continue };
            while frames > 0 {
                let next = async {
                    match stream.frame().await {
                        Some(frame) => {
                            frame.unwrap();
                            Outcome::Accepted
                        }
                        None => Outcome::Refused,
                    }
                };
                frames -= 1;
                if self.note(Act::Frame { token }, next).await == Outcome::Refused {
                    break;
                }
                yield_now().await;
            }
        }
    }

    async fn send(
        &self,
        path: &str,
        token: &str,
        session: Option<HeaderValue>,
    ) -> Response<Frames> {
        let mut request = Request::post(path)
            .header(header::HOST, "a.test")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Empty::new())
            .unwrap();
        if let Some(session) = session {
            request.headers_mut().insert(SESSION_ID, session);
        }
        let Ok(response) = self.service.clone().oneshot(request).await;
        response
    }
}

fn outcome(status: StatusCode) -> Outcome {
    match status {
        StatusCode::OK => Outcome::Accepted,
        StatusCode::NOT_FOUND => Outcome::Unknown,
        StatusCode::UNAUTHORIZED => Outcome::Refused,
        status => panic!("{status}"),
    }
}

fn failure(error: &Error) -> Outcome {
    match error.kind() {
        ErrorKind::AlreadyIssued => Outcome::HasToken,
        ErrorKind::Conflict => Outcome::Conflict,
        ErrorKind::NotFound => Outcome::NoToken,
        _ => panic!("{error}"),
    }
}

/// Opens a session for what comes without one, or a stream that never ends by itself.
async fn serve<B>(request: Request<B>) -> Result<Response<Endless>, Infallible> {
    let is_stream = request.uri().path() == "/stream";
    let mut response = Response::new(Endless { is_stream });
    if !is_stream && !request.headers().contains_key(SESSION_ID) {
        let inner = HeaderValue::from_static("5f5e4a0e");
        response.headers_mut().insert(SESSION_ID, inner);
    }
    Ok(response)
}

struct Endless {
    is_stream: bool,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = || Ok(Frame::data(Bytes::from_static(b"frame")));
        Poll::Ready(self.is_stream.then(frame))
    }
}

/// Xorshift: a seed tells what was done.
pub(crate) struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        for (left, right) in [(13, 7), (17, 0)] {
            self.0 ^= self.0 << left;
            self.0 ^= if right == 0 { 0 } else { self.0 >> right };
        }
        (self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % bound
    }

    /// Picks one of the last three.
    fn recent<T: Clone>(&mut self, all: &Mutex<Vec<T>>) -> T {
        let all = all.lock().unwrap();
        let back = self.below(3).min(all.len() as u64 - 1) as usize;
        all[all.len() - 1 - back].clone()
    }

    async fn pause(&mut self) {
        for _ in 0..self.below(4) {
            yield_now().await;
        }
    }
}

/// A store that lets others go first before and after each of its steps, and reports nothing.
pub(crate) struct Slow {
    store: MemoryStore,
    random: Mutex<Random>,
}

impl Slow {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            store: MemoryStore::new(),
            random: Mutex::new(Random(seed)),
        }
    }

    async fn pause(&self) {
        let times = self.random.lock().unwrap().below(6);
        for _ in 0..times {
            yield_now().await;
        }
    }
}

impl TokenStore for Slow {
    async fn get(&self, key: &SlotKey) -> Result<Option<TokenRecord>, StoreError> {
        self.pause().await;
        let found = self.store.get(key).await;
        self.pause().await;
        found
    }

    async fn compare_and_swap(
        &self,
        key: &SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Result<(), StoreError> {
        self.pause().await;
        let swapped = self
            .store
            .compare_and_swap(key, expected, next, event)
            .await;
        self.pause().await;
        swapped
    }

    async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<TokenRecord>, StoreError> {
        self.store.list(workspace).await
    }

    async fn history(&self, key: &SlotKey) -> Result<Vec<HistoryEvent>, StoreError> {
        self.store.history(key).await
    }

    async fn touch(&self, used: &[(SlotKey, Timestamp)]) -> Result<(), StoreError> {
        self.store.touch(used).await
    }

    fn watch(&self, _observer: ChangeObserver) -> Freshness {
        // As one whose reports are never late: what is changed here, the authority knows by itself.
        Freshness::Lease {
            duration: Duration::MAX,
            shared: false,
        }
    }
}
