//! The attack table: what a case is, what each expectation means, and the one test that runs them all.

use std::collections::{BTreeMap, HashSet};

use axum::{Router, body::Body};
use http::Request;

use crate::common::send::{Answer, oneshot, wire};

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
    app: Router,
    sent: Sent,
    /// What the request presents: nothing of it may come back.
    credentials: Vec<Vec<u8>>,
}

enum Sent {
    Oneshot(Box<Request<Body>>),
    Wire(Vec<u8>),
}

/// How a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// 404, the same bytes for every bad session.
    NoSession,
    /// 429 with `Retry-After`.
    TooMany,
    /// 503 with `Retry-After`.
    Unavailable,
}

impl Attempt {
    /// Sends `request` into `app`.
    pub(crate) fn oneshot(app: &Router, request: Request<Body>, credentials: &[&str]) -> Self {
        Self::new(app, Sent::Oneshot(Box::new(request)), credentials)
    }

    /// Writes `bytes` to a socket of `app`.
    pub(crate) fn wire(app: &Router, bytes: impl Into<Vec<u8>>, credentials: &[&str]) -> Self {
        Self::new(app, Sent::Wire(bytes.into()), credentials)
    }

    fn new(app: &Router, sent: Sent, credentials: &[&str]) -> Self {
        Self {
            app: app.clone(),
            sent,
            credentials: credentials
                .iter()
                .map(|credential| credential.as_bytes().to_vec())
                .collect(),
        }
    }

    /// The request's target and host: what the answer may depend on.
    fn target(&self) -> String {
        match &self.sent {
            Sent::Oneshot(request) => {
                format!("{} {:?}", request.uri(), request.headers().get("host"))
            }
            Sent::Wire(bytes) => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let host = text.lines().find(|line| line.starts_with("Host"));
                format!("wire {:?} {host:?}", text.lines().next())
            }
        }
    }

    async fn run(self) -> Answer {
        match self.sent {
            Sent::Oneshot(request) => oneshot(&self.app, *request).await,
            // The last answer: what a smuggled request gets, if there is one.
            Sent::Wire(bytes) => wire(&self.app, &bytes)
                .await
                .pop()
                .expect("the server answers"),
        }
    }
}

impl Expected {
    fn status(self) -> u16 {
        match self {
            Self::BadAddress | Self::BadPlace | Self::BadSession => 400,
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
        if answer.header("content-type") == Some("application/json") {
            let error = answer.text();
            check(error.contains("\"jsonrpc\":\"2.0\""), "JSON-RPC")?;
            check(error.contains("\"id\":null"), "JSON-RPC id")?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_is_turned_away_and_every_control_is_let_in() {
    let cases = all_cases().await;
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut names = HashSet::new();
    let mut faces: BTreeMap<(Expected, String), (String, Answer)> = BTreeMap::new();
    let mut failures = Vec::new();
    let total = cases.len();
    for case in cases {
        *sizes.entry(case.family).or_default() += 1;
        let name = format!("{}: {}", case.family, case.name);
        assert!(names.insert(name.clone()), "{name}: named twice");
        let credentials = case.attack.credentials.clone();
        let target = case.attack.target();
        let answer = case.attack.run().await;
        if let Err(problem) = case.expected.judge(&answer) {
            failures.push(format!("{name}: {problem}"));
        }
        if credentials
            .iter()
            .any(|credential| echoes(&answer, credential))
        {
            failures.push(format!(
                "{name}: the answer holds a piece of the credential"
            ));
        }
        if matches!(case.expected, Expected::InvalidToken | Expected::NoSession) {
            let (first, face) = faces
                .entry((case.expected, target))
                .or_insert_with(|| (name.clone(), answer.clone()));
            if *face != answer {
                failures.push(format!("{name}: answered otherwise than {first}"));
            }
        }
        let control = case.control.run().await;
        if control.status != 200 {
            failures.push(format!("{name}: its control got {control:?}"));
        }
    }
    eprintln!("{total} attacks, each with its control: {sizes:?}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(total >= 120, "the table has shrunk to {total} cases");
}

async fn all_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(crate::headers::cases().await);
    cases.extend(crate::claims::cases().await);
    cases.extend(crate::kinds::cases().await);
    cases.extend(crate::encoding::cases().await);
    cases.extend(crate::hosts::cases().await);
    cases.extend(crate::places::cases().await);
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
