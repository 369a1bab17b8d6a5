//! The attack table: what a case is, what each expectation means, and the one test that runs them all.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use axum::body::Body;
use http::{Method, Request};
use tokio::task::JoinSet;

use crate::common::{
    App, World,
    send::Answer,
    stacks::{Server, Stack},
};

/// The fewest cases on each stack.
const FLOOR: usize = 4700;

/// The most bytes of a request's head over HTTP/2: hyper turns away more than 16 KiB by itself.
const LONGEST_HTTP2_HEAD: usize = 12 * 1024;

/// One attack: the request that is wrong in one way, and the same one put right.
pub(crate) struct Case {
    pub(crate) family: &'static str,
    /// The sentence of what is wrong.
    pub(crate) name: String,
    pub(crate) attack: Attempt,
    pub(crate) expected: Expected,
    /// Must be answered with 200.
    pub(crate) control: Attempt,
}

/// A request and the application that it is for.
pub(crate) struct Attempt {
    app: App,
    sent: Sent,
    /// What the request presents: nothing of it may come back.
    credentials: Vec<Vec<u8>>,
}

enum Sent {
    /// To a connection of HTTP/1.1 of its own.
    Bytes(Vec<u8>),
    /// To a connection of HTTP/2 of its own.
    Frames(Vec<u8>),
    /// Over HTTP/2, as it is: authority and `Host` both, if it has both.
    Http2(Box<Request<Body>>),
    /// Over each version.
    Request(Box<Request<Body>>),
}

/// How a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Expected {
    /// 400 about the address, or by the HTTP library.
    BadAddress,
    /// 400 `invalid_request`, with a challenge that says so.
    BadPlace,
    /// 403.
    ForeignOrigin,
    /// 401 `invalid_token`, the same bytes for every bad token.
    InvalidToken,
    /// 401 `invalid_token` with a sentence about the empty or unset variable.
    InvalidVariable,
    /// 400 about the session header.
    BadSession,
    /// 401 with a challenge and without an error code.
    NoCredential,
    /// 400, or no answer at all: a reset of the stream or the end of the connection.
    Malformed,
    /// 404, the same bytes for every bad session.
    NoSession,
    /// 429 with `Retry-After`.
    TooMany,
    /// 503 with `Retry-After`.
    Unavailable,
}

impl Case {
    /// Whether this can be sent to a stack at all.
    fn exists_on(&self, stack: Stack) -> bool {
        self.attack.exists_on(stack) && self.control.exists_on(stack)
    }
}

impl Attempt {
    /// Sends `request` to `app`, whatever the version of HTTP.
    pub(crate) fn request(app: &App, request: Request<Body>, credentials: &[&str]) -> Self {
        Self::new(app, Sent::Request(Box::new(request)), credentials)
    }

    /// Sends `request` to `app` over HTTP/2, authority and `Host` as they are.
    pub(crate) fn http2(app: &App, request: Request<Body>, credentials: &[&str]) -> Self {
        Self::new(app, Sent::Http2(Box::new(request)), credentials)
    }

    /// Writes `bytes`, which are HTTP/1.1, to a socket of `app`.
    pub(crate) fn bytes(app: &App, bytes: impl Into<Vec<u8>>, credentials: &[&str]) -> Self {
        Self::new(app, Sent::Bytes(bytes.into()), credentials)
    }

    /// Writes `frames`, which are HTTP/2, to a socket of `app`.
    pub(crate) fn frames(app: &App, frames: Vec<u8>, credentials: &[&str]) -> Self {
        Self::new(app, Sent::Frames(frames), credentials)
    }

    fn new(app: &App, sent: Sent, credentials: &[&str]) -> Self {
        Self {
            app: app.clone(),
            sent,
            credentials: credentials
                .iter()
                .map(|credential| credential.as_bytes().to_vec())
                .collect(),
        }
    }

    fn exists_on(&self, stack: Stack) -> bool {
        match &self.sent {
            Sent::Bytes(_) => !stack.is_http2(),
            Sent::Frames(_) | Sent::Http2(_) => stack.is_http2(),
            Sent::Request(request) if stack.is_http2() => head(request) <= LONGEST_HTTP2_HEAD,
            // What HTTP/1.1 reads of a field has no white space around it.
            Sent::Request(request) => {
                let values = request.headers().values().map(|value| value.as_bytes());
                values.into_iter().all(|value| value.trim_ascii() == value)
            }
        }
    }

    /// The request's target and host, and whether the answer has no body: what the answer may depend on.
    fn target(&self) -> String {
        match &self.sent {
            Sent::Request(request) | Sent::Http2(request) => {
                let is_head = request.method() == Method::HEAD;
                let host = request.headers().get("host");
                format!("{} {host:?} {is_head}", request.uri())
            }
            Sent::Frames(_) => String::from("frames"),
            Sent::Bytes(bytes) => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let host = text.lines().find(|line| line.starts_with("Host"));
                format!("wire {:?} {host:?}", text.lines().next())
            }
        }
    }

    async fn run(self, server: &mut Server) -> Answer {
        match self.sent {
            Sent::Request(request) => server.send(&self.app, *request).await,
            Sent::Http2(request) => server.send_as_is(&self.app, *request).await,
            Sent::Frames(frames) => {
                let status = server.status(&self.app, &frames).await;
                status.map_or(Answer::none(), Answer::of_status)
            }
            // The last answer: what a smuggled request gets, if there is one.
            Sent::Bytes(bytes) => {
                let mut answers = server.exchange(&self.app, &bytes).await;
                answers.pop().unwrap_or(Answer::none())
            }
        }
    }
}

/// The bytes of a request's head, nearly.
fn head(request: &Request<Body>) -> usize {
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + 32);
    request.uri().to_string().len() + fields.sum::<usize>()
}

impl Expected {
    fn status(self) -> u16 {
        match self {
            Self::BadAddress | Self::BadPlace | Self::BadSession | Self::Malformed => 400,
            Self::ForeignOrigin => 403,
            Self::InvalidToken | Self::InvalidVariable | Self::NoCredential => 401,
            Self::NoSession => 404,
            Self::TooMany => 429,
            Self::Unavailable => 503,
        }
    }

    fn error_code(self) -> Option<&'static str> {
        match self {
            Self::BadPlace => Some("invalid_request"),
            Self::InvalidToken | Self::InvalidVariable => Some("invalid_token"),
            _ => None,
        }
    }

    /// Says what is wrong with `answer`, if anything is.
    fn judge(self, answer: &Answer) -> Result<(), String> {
        if self == Self::Malformed && *answer == Answer::none() {
            return Ok(());
        }
        let challenge = answer.header("www-authenticate");
        let check = |holds: bool, what: &str| {
            let complain = || {
                format!(
                    "{what}: {}, {challenge:?}, {}",
                    answer.status,
                    answer.text()
                )
            };
            holds.then_some(()).ok_or_else(complain)
        };
        check(answer.status == self.status(), "another status")?;
        let is_due = self.status() == 401 || self == Self::BadPlace;
        check(challenge.is_some() == is_due, "challenge")?;
        if let Some(challenge) = challenge {
            check(challenge.starts_with("Bearer "), "the challenge's scheme")?;
            let code = self.error_code().map(|code| format!("error=\"{code}\""));
            let has_code = match &code {
                Some(code) => challenge.contains(code.as_str()),
                None => !challenge.contains("error="),
            };
            check(has_code, "error code")?;
        }
        if matches!(self, Self::TooMany | Self::Unavailable) {
            check(answer.header("retry-after").is_some(), "Retry-After")?;
        }
        // A HEAD has none.
        if answer.header("content-type") == Some("application/json") && !answer.body.is_empty() {
            let error = answer.text();
            check(error.contains("\"jsonrpc\":\"2.0\""), "JSON-RPC")?;
            check(error.contains("\"id\":null"), "JSON-RPC id")?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_is_turned_away_and_every_control_is_let_in() {
    let mut runs: JoinSet<Run> = Stack::ALL.into_iter().map(run).collect();
    let mut failures = Vec::new();
    let mut answers: HashMap<Arc<str>, (Stack, Answer)> = HashMap::new();
    while let Some(run) = runs.join_next().await {
        let run = run.unwrap();
        let stack = run.stack;
        let ran = run.answers.len();
        eprintln!(
            "{stack:?}: {ran} attacks, each with its control; {} cannot be sent to it: {:?}",
            run.left_out, run.sizes
        );
        failures.extend(run.failures);
        if ran < FLOOR {
            failures.push(format!("{stack:?}: the table has shrunk to {ran} cases"));
        }
        for (name, answer) in run.answers {
            let answer = answer.without_framing();
            let (other, known) = answers
                .entry(Arc::clone(&name))
                .or_insert_with(|| (stack, answer.clone()));
            if *known != answer {
                failures.push(format!(
                    "{name}: {stack:?} answers otherwise than {other:?}"
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What came of the table on one stack.
struct Run {
    stack: Stack,
    /// The cases that ran, by family.
    sizes: BTreeMap<&'static str, usize>,
    left_out: usize,
    answers: Vec<(Arc<str>, Answer)>,
    failures: Vec<String>,
}

/// Runs the table on `stack`: with worlds of its own, since an attack may leave one changed.
async fn run(stack: Stack) -> Run {
    let mut run = Run {
        stack,
        sizes: BTreeMap::new(),
        left_out: 0,
        answers: Vec::new(),
        failures: Vec::new(),
    };
    let mut server = Server::start(stack, World::new().await.by_path()).await;
    let mut names = HashSet::new();
    let mut faces: HashMap<(Expected, String), (Arc<str>, Answer)> = HashMap::new();
    for case in all_cases().await {
        let name: Arc<str> = format!("{}: {}", case.family, case.name).into();
        if !names.insert(Arc::clone(&name)) {
            run.failures.push(format!("{name}: named twice"));
        }
        if !case.exists_on(stack) {
            run.left_out += 1;
            continue;
        }
        *run.sizes.entry(case.family).or_default() += 1;
        let mut fail = |problem: &str| run.failures.push(format!("{stack:?}: {name}: {problem}"));
        let credentials = case.attack.credentials.clone();
        let target = case.attack.target();
        let answer = case.attack.run(&mut server).await;
        if let Err(problem) = case.expected.judge(&answer) {
            fail(&problem);
        }
        if credentials
            .iter()
            .any(|credential| echoes(&answer, credential))
        {
            fail("the answer holds a piece of the credential");
        }
        if matches!(case.expected, Expected::InvalidToken | Expected::NoSession) {
            let (first, face) = faces
                .entry((case.expected, target))
                .or_insert_with(|| (Arc::clone(&name), answer.clone()));
            if *face != answer {
                fail(&format!("answered otherwise than {first}"));
            }
        }
        let control = case.control.run(&mut server).await;
        if control.status != 200 {
            fail(&format!("its control got {control:?}"));
        }
        run.answers.push((name, answer));
    }
    run
}

async fn all_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(crate::headers::cases().await);
    cases.extend(crate::access::cases().await);
    cases.extend(crate::claims::cases().await);
    cases.extend(crate::kinds::cases().await);
    cases.extend(crate::encoding::cases().await);
    cases.extend(crate::hosts::cases().await);
    cases.extend(crate::frames::cases().await);
    cases.extend(crate::places::cases().await);
    cases.extend(crate::elsewhere::cases().await);
    cases.extend(crate::exhaustion::cases().await);
    cases.extend(crate::paths::cases().await);
    cases.extend(crate::origins::cases().await);
    cases.extend(crate::sessions::cases().await);
    cases.extend(crate::rows::cases().await);
    cases
}

/// Whether an answer holds a credential, or 12 bytes of it. The header of a token is public.
pub(crate) fn echoes(answer: &Answer, credential: &[u8]) -> bool {
    holds_piece_of(&answer.bytes(), credential)
}

/// Whether `text` holds 12 bytes of `credential` that are secret.
pub(crate) fn holds_piece_of(text: &[u8], credential: &[u8]) -> bool {
    let public = credential
        .iter()
        .position(|byte| *byte == b'.')
        .map_or(0, |dot| dot + 1);
    let pieces: HashSet<&[u8]> = credential[public..].windows(12).collect();
    text.windows(12).any(|window| pieces.contains(window))
}
