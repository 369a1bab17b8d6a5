//! [`McpService`]: reads requests, then passes them through the session layer to rmcp.

use std::{
    convert::Infallible,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, header::CONTENT_TYPE, request::Parts};
use http_body::Body;
use http_body_util::Full;
use rmcp::{
    ServerHandler,
    transport::streamable_http_server::{
        SessionManager as _, StreamableHttpServerConfig, StreamableHttpService,
        session::local::{LocalSessionManager, SessionConfig},
    },
};
use tower_layer::Layer as _;
use tower_service::Service;
use tower_workspace_token::{
    authority::TokenAuthority,
    session::{SessionBody, SessionHandle, SessionLayer, SessionLifetime, SessionService},
};

use crate::{
    McpBody, body,
    client::session_lifetime,
    endpoint::{Endpoint, Rmcp},
    handler::Leased,
    message::{Envelope, Message, PROTOCOL_VERSION},
    observer::{ObservedRequest, Observer},
};

/// The body of an [`McpService`]'s responses.
pub type McpResponseBody = SessionBody<McpBody>;

/// The same as rmcp's own: room for a few attachments.
const DEFAULT_BODY_LIMIT: usize = 4 * 1024 * 1024;

/// An MCP server that issues session tokens; goes behind a
/// [`WorkspaceTokenLayer`](tower_workspace_token::layer::WorkspaceTokenLayer).
///
/// See the [crate docs](crate) for an example. Clones share their sessions.
pub struct McpService<H> {
    rmcp: Rmcp<H>,
    layer: SessionLayer,
    sessions: SessionService<Endpoint<H>>,
    protocol: Protocol,
    body_limit: usize,
    longest_session: Duration,
    observer: Option<Arc<dyn Observer>>,
    factory: Arc<dyn Fn() -> Result<H, io::Error> + Send + Sync>,
}

/// The eras of MCP that a service answers. Complete: a new one would be a breaking change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Both, each request in its own. The default.
    #[default]
    Dual,
    /// Only the one with sessions, up to 2025-11-25. Newer clients are told so (`-32022`) and send `initialize`.
    ///
    /// For servers that push messages of their own: the newer era has no stream for them.
    Legacy,
}

impl<H: ServerHandler> McpService<H> {
    /// Makes a service that keeps its sessions with `authority` and serves each with a handler of `factory`'s.
    ///
    /// In the era without sessions `factory` is called for each request.
    pub fn new(
        authority: TokenAuthority,
        factory: impl Fn() -> Result<H, io::Error> + Send + Sync + 'static,
    ) -> Self {
        let factory: Arc<dyn Fn() -> Result<H, io::Error> + Send + Sync> = Arc::new(factory);
        let manager = Arc::new(session_manager());
        let layer = SessionLayer::new(authority).on_session_end(closes_session(&manager, None));
        let rmcp = rmcp_service(&factory, manager, Protocol::Dual, DEFAULT_BODY_LIMIT);
        Self {
            sessions: layer.layer(Endpoint::new(rmcp.clone(), Protocol::Dual, None)),
            rmcp,
            layer,
            protocol: Protocol::Dual,
            body_limit: DEFAULT_BODY_LIMIT,
            longest_session: Duration::MAX,
            observer: None,
            factory,
        }
    }

    /// Answers the eras of `protocol`. Defaults to [`Protocol::Dual`].
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self.rebuilt()
    }

    /// Reads messages up to this many bytes; a larger one is answered with 413. Defaults to 4 MiB.
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self.rebuilt()
    }

    /// Ends sessions at the latest this long after they were opened.
    ///
    /// By default a session lives for 1 hour if its client is known to initialize again by itself, else
    /// for 12; this only shortens that.
    pub fn with_session_lifetime(mut self, lifetime: Duration) -> Self {
        self.longest_session = lifetime;
        self
    }

    /// Ends a session in which no call and no stream was open for this long. Defaults to 30 minutes.
    pub fn with_idle_timeout(mut self, idle: Duration) -> Self {
        self.layer = self.layer.with_idle_timeout(idle);
        self.rebuilt()
    }

    /// Lets one token have this many sessions, at least one. Defaults to 64.
    pub fn with_sessions_per_token(mut self, sessions: usize) -> Self {
        self.layer = self.layer.with_sessions_per_token(sessions);
        self.rebuilt()
    }

    /// Tells `observer` of sessions and requests.
    pub fn with_observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self.rebuilt()
    }

    /// Ends all sessions and streams, for good: for the end of the process.
    pub fn shut_down(&self) {
        self.rmcp.config.cancellation_token.cancel();
    }

    fn rebuilt(self) -> Self {
        let manager = Arc::new(session_manager());
        let observer = self.observer.clone();
        let on_end = closes_session(&manager, observer.clone());
        let layer = self.layer.on_session_end(on_end);
        let rmcp = rmcp_service(&self.factory, manager, self.protocol, self.body_limit);
        Self {
            sessions: layer.layer(Endpoint::new(rmcp.clone(), self.protocol, observer)),
            rmcp,
            layer,
            ..self
        }
    }
}

fn session_manager() -> LocalSessionManager {
    let mut config = SessionConfig::default();
    // rmcp's own timeout ends sessions with an open stream or a running call; ours looks at both.
    config.keep_alive = None;
    let mut manager = LocalSessionManager::default();
    manager.session_config = config;
    manager
}

fn rmcp_service<H: ServerHandler>(
    factory: &Arc<dyn Fn() -> Result<H, io::Error> + Send + Sync>,
    manager: Arc<LocalSessionManager>,
    protocol: Protocol,
    body_limit: usize,
) -> Rmcp<H> {
    let factory = Arc::clone(factory);
    let config = StreamableHttpServerConfig::default()
        // Host and Origin are the token layer's, which knows the names of workspaces; rmcp compares whole names.
        .disable_allowed_hosts()
        .disable_allowed_origins()
        // Concerns the era without sessions: one answer needs no stream.
        .with_json_response(true)
        .with_max_request_body_bytes(body_limit);
    StreamableHttpService::new(
        move || Ok(Leased::new(factory()?, protocol)),
        manager,
        config,
    )
}

/// Returns what ends rmcp's part of a session when ours has ended, and tells of it.
fn closes_session(
    manager: &Arc<LocalSessionManager>,
    observer: Option<Arc<dyn Observer>>,
) -> impl Fn(&str) + Send + Sync + 'static {
    let manager = Arc::clone(manager);
    move |inner_id| {
        if let Some(observer) = &observer {
            observer.session_ended(inner_id);
        }
        // Without a runtime there are no tasks of rmcp's either.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (manager, inner_id) = (Arc::clone(&manager), Arc::from(inner_id));
        runtime.spawn(async move {
            // It fails if the session is gone already, which is all that was asked for.
            let _ = manager.close_session(&inner_id).await;
        });
    }
}

impl<H, B> Service<Request<B>> for McpService<H>
where
    H: ServerHandler,
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<McpResponseBody>;
    type Error = Infallible;
    type Future = McpResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> McpResponseFuture {
        let mut sessions = self.sessions.clone();
        let (limit, longest_session) = (self.body_limit, self.longest_session);
        let observer = self.observer.clone();
        McpResponseFuture(Box::pin(async move {
            let request = read(request, limit, longest_session).await;
            let newcomer = observer.and_then(|observer| Newcomer::of(&request, observer));
            let response = sessions.call(request).await?;
            if let Some(newcomer) = newcomer {
                newcomer.tell(&response);
            }
            Ok(response)
        }))
    }
}

/// Reads the message of a request and notes what the layers below need to know of it.
///
/// What cannot be read is answered below the session layer, whose answers come first.
async fn read<B: Body>(
    request: Request<B>,
    limit: usize,
    longest_session: Duration,
) -> Request<Full<Bytes>> {
    let (mut parts, body) = request.into_parts();
    let mut bytes = Bytes::new();
    let mut message = Message::Unread;
    if parts.method == Method::POST {
        match body::read(body, limit).await {
            Ok(read) => bytes = read,
            Err(error) => message = Message::NotRead(error),
        }
        let is_json = parts.headers.get(CONTENT_TYPE).is_some_and(is_json);
        if is_json && matches!(message, Message::Unread) {
            message = Message::read(&bytes);
        }
    }
    let initialize = message
        .envelope()
        .filter(|envelope| envelope.is("initialize"));
    if let Some(initialize) = initialize {
        let lifetime = session_lifetime(initialize, &parts.headers).min(longest_session);
        parts.extensions.insert(SessionLifetime(lifetime));
        // `initialize` opens a session whatever the header says, and the session layer, which goes by
        // the header alone, would let one of the newer era slip through uncounted.
        parts.headers.remove(PROTOCOL_VERSION);
    }
    parts.extensions.insert(message);
    Request::from_parts(parts, Full::new(bytes))
}

/// An `initialize` of which an observer is told when it has opened a session.
struct Newcomer {
    observer: Arc<dyn Observer>,
    request: Parts,
    message: Message,
}

impl Newcomer {
    fn of<B>(request: &Request<B>, observer: Arc<dyn Observer>) -> Option<Self> {
        let message = request.extensions().get::<Message>()?;
        let is_initialize = |envelope: &Envelope| envelope.is("initialize");
        message.envelope().is_some_and(is_initialize).then(|| {
            let mut kept = Request::new(());
            kept.method_mut().clone_from(request.method());
            kept.headers_mut().clone_from(request.headers());
            kept.extensions_mut().clone_from(request.extensions());
            Self {
                observer,
                request: kept.into_parts().0,
                message: message.clone(),
            }
        })
    }

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

/// The future of an [`McpService`].
#[must_use = "futures do nothing unless polled"]
pub struct McpResponseFuture(
    Pin<Box<dyn Future<Output = Result<Response<McpResponseBody>, Infallible>> + Send>>,
);

impl Future for McpResponseFuture {
    type Output = Result<Response<McpResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<H> Clone for McpService<H> {
    fn clone(&self) -> Self {
        Self {
            rmcp: self.rmcp.clone(),
            layer: self.layer.clone(),
            sessions: self.sessions.clone(),
            protocol: self.protocol,
            body_limit: self.body_limit,
            longest_session: self.longest_session,
            observer: self.observer.clone(),
            factory: Arc::clone(&self.factory),
        }
    }
}

impl<H> fmt::Debug for McpService<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpService")
            .field("protocol", &self.protocol)
            .field("body_limit", &self.body_limit)
            .field("sessions", &self.layer)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for McpResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpResponseFuture").finish_non_exhaustive()
    }
}
