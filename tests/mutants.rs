//! Genuine tokens with something changed: every byte once, in every way, and at random in several ways.
//!
//! Of random mutants an optimized build tries ten million, and an unoptimized one fewer; or as many as it is
//! told to, from another seed if it is given one:
//!
//! ```sh
//! MUTANTS=1000000000 MUTANTS_SEED=7 cargo test --release --features full --test mutants -- --nocapture
//! ```

#![cfg(feature = "session")]
#![expect(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use tokio::runtime::Runtime;
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn, util::BoxCloneSyncService};
use tower_workspace_token::{
    Keys, MemoryStore, PathTemplate, SessionLayer, TokenAuthority, TokenName, WorkspaceId,
    WorkspaceTokenLayer, token::PresentedToken,
};

const SEED: u64 = 0x7077_2d74_6f6b_656e;

/// Tokens of each kind and what checks them.
struct Target {
    runtime: Runtime,
    /// Has seen the token.
    warm: TokenAuthority,
    /// Another process over the same store, which has not.
    cold: TokenAuthority,
    app: App,
    token: Vec<u8>,
    access: Vec<u8>,
    session: Vec<u8>,
    /// Genuine tokens that are good for nothing here: of another workspace and of an ended generation.
    others: Vec<Vec<u8>>,
}

type App = BoxCloneSyncService<Request<Full<Bytes>>, Response<()>, Infallible>;

/// What a mutant is a mutant of, and so where it is presented.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Access,
    Session,
    Workspace,
}

impl Target {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (store, keys) = (MemoryStore::new(), Keys::generate().unwrap());
        let build = || {
            let builder = TokenAuthority::builder(store.clone(), keys.clone());
            builder.build().unwrap()
        };
        let (warm, cold) = (build(), build());
        let issue = |workspace: &str| {
            let workspace = workspace.parse().unwrap();
            let issued = runtime.block_on(warm.issue(&workspace, &TokenName::primary()));
            issued.unwrap().expose_secret().as_bytes().to_vec()
        };
        let (former, other) = (issue("acme"), issue("other"));
        let rotated = runtime
            .block_on(async { warm.rotate(&acme(), &TokenName::primary()).await })
            .unwrap();
        let token = rotated.token.expose_secret().as_bytes().to_vec();
        let access = runtime.block_on(exchange(&warm, "acme", &token));
        let foreign_access = runtime.block_on(exchange(&warm, "other", &other));
        let app = app(&warm);
        let session = runtime.block_on(open(&app, "/mcp/acme", &token));
        let foreign = runtime.block_on(open(&app, "/mcp/other", &other));
        let target = Self {
            others: vec![former, other, foreign, foreign_access],
            runtime,
            warm,
            cold,
            app,
            token,
            access,
            session,
        };
        let runtime = target.runtime.enter();
        assert!(target.accepts(Kind::Access, &target.access));
        drop(runtime);
        assert!(target.accepts(Kind::Workspace, &target.token));
        assert!(target.accepts(Kind::Session, &target.session));
        target
    }

    fn genuine(&self, kind: Kind) -> &[u8] {
        match kind {
            Kind::Access => &self.access,
            Kind::Session => &self.session,
            Kind::Workspace => &self.token,
        }
    }

    /// Whether `token` is taken for one of its kind.
    ///
    /// # Panics
    /// The check waits for something, as none does whose MAC is wrong.
    fn accepts(&self, kind: Kind, token: &[u8]) -> bool {
        match kind {
            Kind::Access => accesses(&self.warm, token),
            Kind::Session => self.accepts_session(token),
            Kind::Workspace => self.warm_accepts(token),
        }
    }

    fn warm_accepts(&self, token: &[u8]) -> bool {
        verifies(&self.warm, token)
    }

    /// Sends `session` with the genuine workspace token. What no field can hold is refused by HTTP.
    fn accepts_session(&self, session: &[u8]) -> bool {
        let Ok(session) = HeaderValue::from_bytes(session) else {
            return false;
        };
        let request = request("/mcp/acme", &self.token).header("mcp-session-id", session);
        let request = request.body(Full::default()).unwrap();
        let response = at_once(self.app.clone().call(request)).unwrap();
        match response.status().as_u16() {
            200 => true,
            404 => false,
            other => panic!("{other}"),
        }
    }
}

fn verifies(authority: &TokenAuthority, token: &[u8]) -> bool {
    at_once(authority.verify(&acme(), PresentedToken::new(token))).is_ok()
}

fn accesses(authority: &TokenAuthority, token: &[u8]) -> bool {
    at_once(authority.verify_access(&acme(), PresentedToken::new(token))).is_ok()
}

async fn exchange(authority: &TokenAuthority, workspace: &str, token: &[u8]) -> Vec<u8> {
    let workspace = workspace.parse().unwrap();
    let verified = authority
        .verify(&workspace, PresentedToken::new(token))
        .await;
    let access = authority.exchange(&verified.unwrap()).await.unwrap();
    access.expose_secret().as_bytes().to_vec()
}

fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

/// A service that opens a session for whoever has none.
fn app(authority: &TokenAuthority) -> App {
    let inner = service_fn(|request: Request<Full<Bytes>>| {
        let mut response = Response::new(Full::<Bytes>::default());
        if !request.headers().contains_key("mcp-session-id") {
            let id = HeaderValue::from_static("inner");
            response.headers_mut().insert("mcp-session-id", id);
        }
        ready(Ok(response)) as Ready<Result<_, Infallible>>
    });
    let sessions = SessionLayer::new(authority.clone());
    let tokens = WorkspaceTokenLayer::new(authority.clone(), PathTemplate::new("/mcp/{workspace}"));
    let app = tokens.layer(sessions.layer(inner));
    BoxCloneSyncService::new(app.map_response(|response| response.map(drop)))
}

fn request(target: &str, token: &[u8]) -> http::request::Builder {
    Request::post(target)
        .header("host", "a.test")
        .header("authorization", [b"Bearer ", token].concat())
}

async fn open(app: &App, target: &str, token: &[u8]) -> Vec<u8> {
    let request = request(target, token).body(Full::default()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    response.headers()["mcp-session-id"].as_bytes().to_vec()
}

/// Every byte replaced by each of the 255 others: every single-bit flip is among them.
fn try_every_substitution(kind: Kind, accepts: impl Fn(&[u8]) -> bool, genuine: &[u8]) {
    let mut mutant = genuine.to_vec();
    let mut tried = 0_u32;
    for position in 0..genuine.len() {
        for difference in 1..=255 {
            mutant[position] = genuine[position] ^ difference;
            assert!(!accepts(&mutant), "byte {position}: {difference:#x}");
            tried += 1;
        }
        mutant[position] = genuine[position];
    }
    assert!(accepts(&mutant), "the control");
    eprintln!("{tried} substitutions in a {kind:?} token, 0 accepted");
}

#[test]
fn no_substitution_of_a_byte_of_a_workspace_token_is_accepted() {
    let target = Target::new();
    let _runtime = target.runtime.enter();
    let genuine = target.genuine(Kind::Workspace);
    try_every_substitution(
        Kind::Workspace,
        |mutant| target.warm_accepts(mutant),
        genuine,
    );
}

#[test]
fn no_substitution_is_accepted_by_a_process_that_has_not_seen_the_token() {
    let target = Target::new();
    let _runtime = target.runtime.enter();
    let genuine = target.genuine(Kind::Workspace);
    try_every_substitution(
        Kind::Workspace,
        |mutant| verifies(&target.cold, mutant),
        genuine,
    );
}

#[test]
fn no_substitution_of_a_byte_of_a_session_token_is_accepted() {
    let target = Target::new();
    let _runtime = target.runtime.enter();
    let genuine = target.genuine(Kind::Session);
    try_every_substitution(
        Kind::Session,
        |mutant| target.accepts_session(mutant),
        genuine,
    );
}

#[test]
fn no_substitution_of_a_byte_of_an_access_token_is_accepted() {
    let target = Target::new();
    let _runtime = target.runtime.enter();
    for authority in [&target.warm, &target.cold] {
        try_every_substitution(
            Kind::Access,
            |mutant| accesses(authority, mutant),
            target.genuine(Kind::Access),
        );
    }
}

#[test]
fn no_random_mutant_is_accepted() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text: String| text.parse().unwrap())
    };
    let mutants = number("MUTANTS").unwrap_or(if cfg!(debug_assertions) {
        200_000
    } else {
        10_000_000
    });
    let seed = number("MUTANTS_SEED").unwrap_or(SEED);
    let target = Target::new();
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    thread::scope(|scope| {
        for thread in 0..threads {
            let target = &target;
            let share = mutants / threads + u64::from(thread < mutants % threads);
            scope.spawn(move || try_at_random(target, share, Random(seed.wrapping_add(thread))));
        }
    });
    eprintln!("{mutants} random mutants of seed {seed} in {threads} threads, 0 accepted");
}

fn try_at_random(target: &Target, mutants: u64, mut random: Random) {
    let _runtime = target.runtime.enter();
    let mut tried = 0;
    let mut mutant = Vec::new();
    while tried < mutants {
        let before = random.0;
        let kind = [Kind::Access, Kind::Session, Kind::Workspace][random.below(3)];
        let genuine = target.genuine(kind);
        mutant.clear();
        mutant.extend_from_slice(genuine);
        for _ in 0..=random.below(3) {
            mutate(&mut mutant, &target.others, &mut random);
        }
        if mutant != genuine {
            tried += 1;
            let text = String::from_utf8_lossy(&mutant);
            assert!(
                !target.accepts(kind, &mutant),
                "{kind:?}, state {before}: {text}"
            );
        }
    }
    let is_right = |kind| target.accepts(kind, target.genuine(kind));
    for kind in [Kind::Access, Kind::Session, Kind::Workspace] {
        assert!(is_right(kind), "the control of {kind:?}");
    }
}

/// Changes `token` in one of ten ways.
fn mutate(token: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    const ALPHABET: &[u8] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ";
    if token.is_empty() {
        return;
    }
    let (from, to) = random.range(token.len());
    let at = random.below(token.len());
    match random.below(10) {
        0 => token[at] = random.next() as u8,
        1 => token[at] = ALPHABET[random.below(ALPHABET.len())],
        2 => token[at] ^= 1 << random.below(8),
        3 => token.insert(at, ALPHABET[random.below(ALPHABET.len())]),
        4 => drop(token.drain(from..to)),
        5 => {
            let other = random.below(token.len());
            token.swap(at, other);
        }
        6 => {
            let other = &others[random.below(others.len())];
            let from = from.min(other.len());
            token.truncate(from);
            token.extend_from_slice(&other[from..]);
        }
        7 => token.extend_from_within(from..to),
        8 => token[from..to].reverse(),
        _ => {
            let other = &others[random.below(others.len())];
            let to = to.min(other.len());
            let from = from.min(to);
            token.splice(from..to, other[from..to].iter().copied());
        }
    }
}

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A range of up to 40 of `length` positions, or fewer at the end.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.below(length);
        (from, length.min(from + 1 + self.below(40)))
    }
}
