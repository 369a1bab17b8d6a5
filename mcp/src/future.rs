//! [`McpResponseFuture`]: reads a request, then passes it through the session layer to rmcp.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Method, Request, Response, header::CONTENT_TYPE, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use rmcp::ServerHandler;
use tower_service::Service as _;
use tower_workspace_token::session::{SessionHandle, SessionLifetime, SessionResponseFuture};

use crate::{
    McpResponseBody,
    body::Reading,
    client::session_lifetime,
    endpoint::{EndpointFuture, Posted},
    message::{Envelope, Message, PROTOCOL_VERSION},
    observer::{ObservedRequest, Observer},
    service::{Settings, Shared},
};

pin_project! {
    /// The future of an [`McpService`](crate::McpService).
    #[must_use = "futures do nothing unless polled"]
    pub struct McpResponseFuture<H, B> {
        shared: Arc<Shared<H>>,
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<B> {
        Reading { #[pin] reading: Reading<B>, parts: Option<Parts> },
        Answering { #[pin] answer: SessionResponseFuture<EndpointFuture>, newcomer: Option<Box<Newcomer>> },
    }
}

/// An `initialize` of which an observer is told when it has opened a session. Boxed, since each call has
/// room for one, and hardly any is one.
struct Newcomer {
    observer: Arc<dyn Observer>,
    request: Parts,
    message: Message,
}

impl<H: ServerHandler, B: Body> McpResponseFuture<H, B> {
    pub(crate) fn new(shared: Arc<Shared<H>>, request: Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        let state = if parts.method == Method::POST {
            State::Reading {
                reading: Reading::new(body, shared.settings.body_limit),
                parts: Some(parts),
            }
        } else {
            answering(&shared, parts, Bytes::new(), Message::Unread)
        };
        Self { shared, state }
    }
}

impl<H: ServerHandler, B: Body> Future for McpResponseFuture<H, B> {
    type Output = Result<Response<McpResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Reading { reading, parts } => {
                    let read = ready!(reading.poll(cx));
                    let parts = parts
                        .take()
                        .expect("the state changes when the body is read");
                    let (bytes, message) = match read {
                        Ok(bytes) if parts.headers.get(CONTENT_TYPE).is_some_and(is_json) => {
                            let message = Message::read(&bytes);
                            (bytes, message)
                        }
                        Ok(bytes) => (bytes, Message::Unread),
                        Err(problem) => (Bytes::new(), Message::NotRead(problem)),
                    };
                    answering(this.shared, parts, bytes, message)
                }
                StateProjection::Answering { answer, newcomer } => {
                    let response = ready!(answer.poll(cx))?;
                    if let Some(newcomer) = newcomer {
                        newcomer.tell(&response);
                    }
                    return Poll::Ready(Ok(response));
                }
            };
            this.state.set(next);
        }
    }
}

/// Passes a request on, with what the layers below need to know of it.
///
/// What could not be read is answered below the session layer, whose answers come first.
fn answering<H: ServerHandler, B>(
    shared: &Shared<H>,
    mut parts: Parts,
    bytes: Bytes,
    message: Message,
) -> State<B> {
    let opens_session = |envelope: &&Envelope| envelope.opens_session();
    let mut newcomer = None;
    if let Some(initialize) = message.envelope().filter(opens_session) {
        let Settings {
            longest_session,
            observer,
            ..
        } = &shared.settings;
        let lifetime = session_lifetime(initialize, &parts.headers).min(*longest_session);
        parts.extensions.insert(SessionLifetime(lifetime));
        // `initialize` opens a session whatever the header says, and the session layer, which goes by
        // the header alone, would let one of the newer era slip through uncounted.
        parts.headers.remove(PROTOCOL_VERSION);
        newcomer = observer.as_ref().map(|observer| {
            Box::new(Newcomer {
                observer: Arc::clone(observer),
                request: parts.clone(),
                message: message.clone(),
            })
        });
    }
    let request = Request::from_parts(parts, Posted { message, bytes });
    State::Answering {
        answer: shared.sessions.clone().call(request),
        newcomer,
    }
}

impl Newcomer {
    fn tell<B>(&self, response: &Response<B>) {
        if let Some(session) = response.extensions().get::<SessionHandle>() {
            let request = ObservedRequest::of_parts(&self.request, &self.message);
            self.observer.session_opened(session, &request);
        }
    }
}

fn is_json(content_type: &http::HeaderValue) -> bool {
    let essence = content_type
        .to_str()
        .ok()
        .and_then(|content_type| content_type.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

impl<H, B> fmt::Debug for McpResponseFuture<H, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpResponseFuture").finish_non_exhaustive()
    }
}
