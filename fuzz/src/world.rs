//! An authority with one token, and the requests that are made of a case.
//!
//! The token is planted, so that it is the same in each run and a case means the same thing tomorrow.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use secrecy::SecretBox;
use tokio::runtime::Runtime;
use tower_workspace_token::{
    Keys, MemoryStore, TokenAuthority, WorkspaceId,
    cipher::{Aes256Gcm, Cipher as _, KeyRing, SealContext, SealKey},
    clock::{ManualClock, Timestamp},
    id::{Generation, Revision, SlotKey},
    jwt::SigningKey,
    store::{TokenRecord, TokenStore as _},
};

use crate::{
    JTI, NOW, SEALING, SIGNING,
    oracle::{self, WORKSPACE},
};

/// Stands for the live token in a case, so that it is moved about as one piece.
const TOKEN_MARK: &[u8] = b"{token}";

/// The body of all requests and answers.
pub(crate) type Body = Full<Bytes>;

/// An authority, its one live token, and what its futures run on.
pub(crate) struct World {
    runtime: Runtime,
    pub(crate) authority: TokenAuthority,
    pub(crate) token: String,
}

/// What stands behind a layer: keeps the head of each request that reaches it.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Option<http::request::Parts>>>);

impl World {
    /// A world whose workspace `acme` has a token in its slot `primary`.
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime on this thread alone");
        let token = oracle::sign(WORKSPACE, oracle::header(WORKSPACE), oracle::claims());
        let store = MemoryStore::new();
        runtime.block_on(plant(&store, &token));
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(NOW)));
        let authority = TokenAuthority::builder(store, keys())
            .clock(clock)
            .build()
            .expect("the system gives randomness");
        Self {
            runtime,
            authority,
            token,
        }
    }

    /// Runs what waits for nothing but memory.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Puts the live token into a case wherever its mark stands.
    pub(crate) fn fill(&self, case: &[u8]) -> Vec<u8> {
        replace(case, TOKEN_MARK, self.token.as_bytes())
    }
}

impl Recorder {
    /// Returns the service that records, and answers every request with 200.
    pub(crate) fn service(
        &self,
    ) -> impl tower::Service<
        Request<Body>,
        Response = Response<Body>,
        Error = Infallible,
        Future = Ready<Result<Response<Body>, Infallible>>,
    > + Clone
    + use<> {
        let seen = Arc::clone(&self.0);
        tower::service_fn(move |request: Request<Body>| {
            *seen.lock().expect("nobody panics with it") = Some(request.into_parts().0);
            ready(Ok(Response::new(Body::default())))
        })
    }

    /// Takes the head of the request that came through, if one did.
    pub(crate) fn take(&self) -> Option<http::request::Parts> {
        self.0.lock().expect("nobody panics with it").take()
    }
}

/// Returns `text` with every `mark` replaced.
pub(crate) fn replace(text: &[u8], mark: &[u8], by: &[u8]) -> Vec<u8> {
    let mut filled = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.windows(mark.len()).position(|here| here == mark) {
        filled.extend_from_slice(&rest[..found]);
        filled.extend_from_slice(by);
        rest = &rest[found + mark.len()..];
    }
    filled.extend_from_slice(rest);
    filled
}

/// Splits a case at its line ends; at most `most` lines, the last with whatever else there is.
pub(crate) fn lines(case: &[u8], most: usize) -> impl Iterator<Item = &[u8]> {
    case.splitn(most, |byte| *byte == b'\n')
}

/// Reads `name: value`; what HTTP cannot carry is none.
pub(crate) fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = line[colon + 1..].trim_ascii();
    Some((name, HeaderValue::from_bytes(value).ok()?))
}

pub(crate) fn acme() -> WorkspaceId {
    "acme".parse().expect("a label")
}

pub(crate) fn keys() -> Keys {
    Keys {
        signing: KeyRing::new(SigningKey::from_bytes(SecretBox::init_with(|| SIGNING))),
        sealing: KeyRing::new(SealKey::from_bytes(SecretBox::init_with(|| SEALING))),
    }
}

pub(crate) fn context() -> SealContext {
    SealContext {
        key: SlotKey::new(acme(), "primary".parse().expect("a label")),
        token_id: oracle::token_id(JTI),
        generation: Generation::FIRST,
    }
}

async fn plant(store: &MemoryStore, token: &str) {
    let context = context();
    let sealed = Aes256Gcm::new(keys().sealing)
        .seal(&context, token.as_bytes())
        .await
        .expect("the system gives randomness");
    let (key, at) = (context.key, Timestamp::from_secs(NOW));
    let record = TokenRecord::live(
        key,
        Revision::FIRST,
        context.generation,
        context.token_id,
        sealed,
        at,
    );
    let planted = store.compare_and_swap(&key, None, record, None).await;
    planted.expect("the store is empty");
}
