//! What the benchmarks share: an authority with one token, a service that does nothing, and requests
//! as clients send them.

#![allow(dead_code, reason = "each benchmark uses a part of it")]
#![allow(clippy::allow_attributes, reason = "what is dead differs between them")]

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use tokio::runtime::Runtime;
use tower_service::Service;
use tower_workspace_token::{
    Keys, MemoryStore, TokenAuthority, TokenName, VerifiedToken, WorkspaceId, rejection::Rejection,
    token::PresentedToken,
};

pub(crate) const WORKSPACE: &str = "k3v9x2m7q4a";
pub(crate) const DOMAIN: &str = "mcp.example.com";
pub(crate) const TARGET: &str = "/mcp";

/// An authority over a store in memory, and the token of one workspace.
pub(crate) struct Fixture {
    pub(crate) runtime: Runtime,
    pub(crate) authority: TokenAuthority,
    pub(crate) workspace: WorkspaceId,
    pub(crate) token: String,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let keys = Keys::generate().expect("randomness");
        let authority = TokenAuthority::builder(MemoryStore::new(), keys)
            .build()
            .expect("randomness");
        let workspace = WORKSPACE.parse().expect("a workspace id");
        let issued = runtime
            .block_on(authority.issue(&workspace, &TokenName::primary()))
            .expect("a free slot");
        let token = issued.expose_secret().to_owned();
        Self {
            runtime,
            authority,
            workspace,
            token,
        }
    }

    /// The token with another character in its signature.
    pub(crate) fn forged(&self) -> String {
        let position = self.token.len() - 20;
        let other = if &self.token[position..=position] == "A" {
            "B"
        } else {
            "A"
        };
        let mut forged = self.token.clone();
        forged.replace_range(position..=position, other);
        forged
    }

    /// As many characters as the token has, and nothing of its header.
    pub(crate) fn garbage(&self) -> String {
        "x".repeat(self.token.len())
    }

    pub(crate) fn host(&self) -> String {
        format!("{WORKSPACE}.{DOMAIN}")
    }

    /// Rotates the token and returns the new one, which nobody has presented yet.
    pub(crate) fn rotate(&self) -> String {
        let name = TokenName::primary();
        let rotation = self.authority.rotate(&self.workspace, &name);
        let receipt = self.runtime.block_on(rotation).expect("a live token");
        receipt.token.expose_secret().to_owned()
    }

    /// Checks a token that memory can decide about.
    pub(crate) fn check(&self, token: &str) -> Result<VerifiedToken, Rejection> {
        let presented = PresentedToken::new(black_box(token.as_bytes()));
        let check = pin!(self.authority.verify(&self.workspace, presented));
        at_once(check)
    }
}

/// Answers every request with a few bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hello;

impl Service<Request<()>> for Hello {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        drop(black_box(request));
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"hello")))))
    }
}

/// A POST as an MCP client sends it: eight headers, of which one may be the credential.
pub(crate) fn request(host: &str, target: &str, token: Option<&str>) -> Request<()> {
    const COMMON: [(&str, &str); 6] = [
        ("user-agent", "claude-code/2.1"),
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("content-length", "120"),
        ("accept-encoding", "gzip, deflate"),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    let mut request = Request::new(());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = target.parse::<Uri>().expect("a target");
    let headers = request.headers_mut();
    headers.insert("host", HeaderValue::from_str(host).expect("a host"));
    for (name, value) in COMMON {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    match token {
        Some(token) => {
            let bearer = HeaderValue::try_from(format!("Bearer {token}"));
            headers.insert("authorization", bearer.expect("visible characters"));
        }
        None => {
            headers.insert("x-request-id", HeaderValue::from_static("1"));
        }
    }
    request
}

/// Sends a request through a service and drops what comes back: `ready`, `call`, `poll`, `drop`.
pub(crate) fn exchange<S: Service<Request<()>>>(service: &mut S, request: Request<()>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    let response = at_once(pin!(service.call(request)));
    black_box(&response).is_ok()
}

/// Polls what is ready at the first poll.
pub(crate) fn at_once<F: Future>(future: std::pin::Pin<&mut F>) -> F::Output {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("memory could not decide"),
    }
}
