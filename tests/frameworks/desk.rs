//! What the handlers of one application share, whatever they are handlers of.

use std::{
    convert::Infallible,
    fmt::Debug,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{HeaderMap, Response};
use tokio_stream::{Stream, StreamExt as _};
use tower_workspace_token::VerifiedToken;

pub(crate) const SESSION_ID: &str = "mcp-session-id";
/// What the application itself calls its session.
pub(crate) const INNER_SESSION: &str = "inner-1";
/// The first piece of a stream.
pub(crate) const FIRST: &str = "first";

/// The notes that the handlers of an application take.
#[derive(Clone, Default)]
pub(crate) struct Desk(Arc<Notes>);

#[derive(Default)]
struct Notes {
    /// Everything that was seen of the requests.
    seen: Mutex<String>,
    calls: AtomicUsize,
    /// Handlers that wait, and streams that are open.
    open: AtomicUsize,
}

impl Desk {
    /// Takes a note of a call, and of what is visible of its request.
    pub(crate) fn see(&self, visible: impl Debug) {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        *self.0.seen.lock().unwrap() += &format!("{visible:?}\n");
    }

    /// Never answers, and is open until it is dropped.
    pub(crate) async fn hang(&self) -> Infallible {
        let _open = self.enter();
        pending().await
    }

    /// Says one thing, and is open until it is dropped.
    pub(crate) fn stream(&self) -> impl Stream<Item = &'static str> + Send + Sync + use<> {
        let open = self.enter();
        let more = tokio_stream::pending().map(move |piece| {
            let _open = &open;
            piece
        });
        tokio_stream::once(FIRST).chain(more)
    }

    /// How many calls reached a handler.
    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn seen(&self) -> String {
        self.0.seen.lock().unwrap().clone()
    }

    /// How many handlers wait, and streams are open.
    pub(crate) fn open(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    fn enter(&self) -> Open {
        self.0.open.fetch_add(1, Ordering::SeqCst);
        Open(self.clone())
    }
}

/// A handler or stream that is not dropped yet.
struct Open(Desk);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a handler says about the token that it was given.
pub(crate) fn describe(token: Option<&VerifiedToken>) -> String {
    match token {
        None => String::from("nobody"),
        Some(token) => {
            let (name, workspace) = (token.name(), token.workspace());
            format!("{name} of {workspace}, generation {}", token.generation())
        }
    }
}

/// An MCP service of sorts: opens a session, or says which one it was asked in.
pub(crate) fn mcp(headers: &HeaderMap) -> Response<String> {
    let session = headers.get(SESSION_ID);
    let text = session.map_or("opened", |session| session.to_str().unwrap());
    Response::builder()
        .header(SESSION_ID, INNER_SESSION)
        .body(text.to_owned())
        .unwrap()
}
