//! rmcp as the session layer's inner service: each request is raced against the end of its token, and
//! what rmcp answers in plain text becomes a JSON-RPC error.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use rmcp::{
    ServerHandler,
    model::ProtocolVersion,
    transport::streamable_http_server::{
        StreamableHttpService, session::local::LocalSessionManager,
    },
};
use tower_service::Service;
use tower_workspace_token::authority::{Lease, VerifiedToken};

use crate::{
    ClientPresence, McpBody, Protocol, answer,
    body::NotRead,
    handler::Leased,
    initialize,
    message::{Envelope, Message, PROTOCOL_VERSION},
    observer::{Observation, ObservedRequest, Observer},
};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

pub(crate) type Rmcp<H> = StreamableHttpService<Leased<H>, LocalSessionManager>;

/// Boxed: what it is made of has no name.
pub(crate) type EndpointFuture =
    Pin<Box<dyn Future<Output = Result<Response<McpBody>, Infallible>> + Send>>;

/// The service below the session layer. Cheap to clone, since each request has a clone of its own.
pub(crate) struct Endpoint<H>(Arc<Answering<H>>);

/// A body that was read, and what it was found to be.
pub(crate) struct Posted {
    pub(crate) message: Message,
    pub(crate) bytes: Bytes,
}

struct Answering<H> {
    rmcp: Rmcp<H>,
    protocol: Protocol,
    observer: Option<Arc<dyn Observer>>,
}

impl<H: ServerHandler> Endpoint<H> {
    pub(crate) fn new(
        rmcp: Rmcp<H>,
        protocol: Protocol,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        Self(Arc::new(Answering {
            rmcp,
            protocol,
            observer,
        }))
    }
}

impl<H: ServerHandler> Service<Request<Posted>> for Endpoint<H> {
    type Response = Response<McpBody>;
    type Error = Infallible;
    type Future = EndpointFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Posted>) -> Self::Future {
        let answering = Arc::clone(&self.0);
        Box::pin(async move { Ok(answering.answer(request).await) })
    }
}

impl<H: ServerHandler> Answering<H> {
    async fn answer(&self, request: Request<Posted>) -> Response<McpBody> {
        let (parts, Posted { message, bytes }) = request.into_parts();
        // Looked at again if rmcp cannot read it. `Bytes` are shared, and not copied.
        let initialize = (message.envelope())
            .is_some_and(|envelope| envelope.is("initialize"))
            .then(|| bytes.clone());
        let mut request = Request::from_parts(parts, Full::new(bytes));
        let observation = self.observe(&request, &message);
        let asked = Asked::of(&request);
        if let Some(refusal) = self.refuse(&message, request.headers(), &asked) {
            return refusal;
        }
        let lease = request
            .extensions()
            .get::<VerifiedToken>()
            .map(|token| token.lease().clone());
        let Some(lease) = lease else {
            let error = answer::misconfigured();
            return answer::error(StatusCode::INTERNAL_SERVER_ERROR, message.id(), &error);
        };
        let (here, presence) = ClientPresence::new();
        request.extensions_mut().insert(presence);
        let mut response = tokio::select! {
            biased;
            () = lease.ended() => return ended(&message, &lease),
            response = self.rmcp.handle(request) => response.map(McpBody::of_rmcp),
        };
        if response.status().is_client_error() || response.status().is_server_error() {
            response = explain(response, &message, &asked, initialize.as_deref());
        } else if let Some(id) = message.id()
            && is_event_stream(response.headers())
        {
            let farewell = answer::farewell_event(id, is_listen(&message), &lease);
            response.extensions_mut().insert(farewell);
        }
        response.map(|body| body.read_by(here, observation))
    }

    fn observe<B>(&self, request: &Request<B>, message: &Message) -> Option<Observation> {
        let observer = self.observer.as_deref()?;
        Observation::begin(observer, &ObservedRequest::of(request, message))
    }

    /// Answers what need not reach rmcp.
    fn refuse(
        &self,
        message: &Message,
        headers: &HeaderMap,
        asked: &Asked,
    ) -> Option<Response<McpBody>> {
        let limit = self.rmcp.config.max_request_body_bytes;
        let (status, error) = match message {
            Message::NotRead(NotRead::TooLarge) => {
                (StatusCode::PAYLOAD_TOO_LARGE, answer::too_large(limit))
            }
            Message::NotRead(NotRead::Broken) => (StatusCode::BAD_REQUEST, answer::unreadable()),
            Message::NotJson => (StatusCode::BAD_REQUEST, answer::not_json()),
            Message::NotJsonRpc => (StatusCode::BAD_REQUEST, answer::not_a_message()),
            Message::Envelope(envelope) => match message.modern_version(headers) {
                Some(requested) if self.protocol == Protocol::Legacy => {
                    (StatusCode::BAD_REQUEST, answer::modern_is_off(requested))
                }
                Some(_) => return None,
                None if envelope.is("initialize") || asked.has_session => return None,
                // rmcp takes some of these for requests that stand alone, whatever era they say they are of.
                None if asked.knows_version => (StatusCode::BAD_REQUEST, answer::session_missing()),
                None => (StatusCode::BAD_REQUEST, answer::unknown_version()),
            },
            Message::Unread => return None,
        };
        Some(answer::error(status, message.id(), &error))
    }
}

/// Answers a call whose token has ended; what is no call is left to the token layer's own 401.
fn ended(message: &Message, lease: &Lease) -> Response<McpBody> {
    match message.id() {
        Some(id) => answer::farewell(id, is_listen(message), lease),
        None => answer::error(StatusCode::UNAUTHORIZED, None, &answer::token_ended(lease)),
    }
}

fn is_listen(message: &Message) -> bool {
    message.envelope().is_some_and(Envelope::is_listen)
}

/// What the explanation of an error depends on.
struct Asked {
    method: Method,
    has_session: bool,
    knows_version: bool,
}

impl Asked {
    fn of<B>(request: &Request<B>) -> Self {
        let version = request.headers().get(PROTOCOL_VERSION);
        Self {
            method: request.method().clone(),
            has_session: request.headers().contains_key(SESSION_ID),
            knows_version: version.is_none_or(|version| {
                let known = ProtocolVersion::KNOWN_VERSIONS.iter();
                let mut known = known.map(|known| known.as_str().as_bytes());
                known.any(|known| known == version.as_bytes())
            }),
        }
    }
}

/// Puts a JSON-RPC error with advice in the place of an answer in plain text.
///
/// `initialize` is the body, if it is one.
fn explain(
    response: Response<McpBody>,
    message: &Message,
    asked: &Asked,
    initialize: Option<&[u8]>,
) -> Response<McpBody> {
    if response.headers().get(CONTENT_TYPE).is_some_and(is_json) {
        return response;
    }
    let (mut status, id) = (response.status(), message.id());
    if status == StatusCode::BAD_REQUEST
        && !asked.has_session
        && let Some(body) = initialize
    {
        let error = match id {
            Some(_) => initialize::unreadable(body),
            None => initialize::without_id(),
        };
        return answer::error(status, id, &error);
    }
    let error = match status {
        StatusCode::NOT_FOUND => return answer::unknown_session(),
        StatusCode::BAD_REQUEST if !asked.knows_version => answer::unknown_version(),
        StatusCode::BAD_REQUEST if asked.method == Method::POST && !asked.has_session => {
            answer::session_missing()
        }
        StatusCode::METHOD_NOT_ALLOWED => answer::wrong_method(),
        StatusCode::NOT_ACCEPTABLE => answer::not_acceptable(),
        // rmcp says 415 of what it cannot parse, too.
        StatusCode::UNSUPPORTED_MEDIA_TYPE if message.envelope().is_some() => {
            status = StatusCode::BAD_REQUEST;
            answer::not_a_message()
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => answer::not_declared_as_json(),
        _ if status.is_client_error() => answer::not_understood(),
        _ => answer::failed(),
    };
    let mut explained = answer::error(status, id, &error);
    if let Some(allow) = response.headers().get(http::header::ALLOW) {
        explained
            .headers_mut()
            .insert(http::header::ALLOW, allow.clone());
    }
    explained
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|content_type| content_type.as_bytes().starts_with(b"text/event-stream"))
}

fn is_json(content_type: &http::HeaderValue) -> bool {
    content_type.as_bytes().starts_with(b"application/json")
}

impl<H> Clone for Endpoint<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H> fmt::Debug for Endpoint<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("protocol", &self.0.protocol)
            .finish_non_exhaustive()
    }
}
