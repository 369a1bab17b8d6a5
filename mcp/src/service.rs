//! [`McpService`]: what it is put together from.

use std::{
    convert::Infallible,
    fmt, io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
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
    session::{SessionBody, SessionLayer, SessionService},
};

use crate::{
    McpBody, McpResponseFuture,
    endpoint::{Endpoint, Rmcp},
    handler::Leased,
    observer::Observer,
};

/// The body of an [`McpService`]'s responses.
pub type McpResponseBody = SessionBody<McpBody>;

/// The same as rmcp's own: room for a few attachments.
const DEFAULT_BODY_LIMIT: usize = 4 * 1024 * 1024;

/// An MCP server that issues session tokens; goes behind a
/// [`WorkspaceTokenLayer`](tower_workspace_token::layer::WorkspaceTokenLayer).
///
/// See the [crate docs](crate) for an example. Cheap to clone; clones share their sessions. What a `with_`
/// method returns is a service of its own, with sessions of its own.
pub struct McpService<H> {
    shared: Arc<Shared<H>>,
}

/// What the clones of a service have in common.
pub(crate) struct Shared<H> {
    pub(crate) settings: Settings<H>,
    rmcp: Rmcp<H>,
    pub(crate) sessions: SessionService<Endpoint<H>>,
}

/// What a service is put together from.
pub(crate) struct Settings<H> {
    layer: SessionLayer,
    protocol: Protocol,
    pub(crate) body_limit: usize,
    pub(crate) longest_session: Duration,
    pub(crate) observer: Option<Arc<dyn Observer>>,
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
        Self::of(Settings {
            layer: SessionLayer::new(authority),
            protocol: Protocol::Dual,
            body_limit: DEFAULT_BODY_LIMIT,
            longest_session: Duration::MAX,
            observer: None,
            factory: Arc::new(factory),
        })
    }

    /// Answers the eras of `protocol`. Defaults to [`Protocol::Dual`].
    pub fn with_protocol(self, protocol: Protocol) -> Self {
        self.changed(|settings| settings.protocol = protocol)
    }

    /// Reads messages up to this many bytes; a larger one is answered with 413. Defaults to 4 MiB.
    pub fn with_body_limit(self, bytes: usize) -> Self {
        self.changed(|settings| settings.body_limit = bytes)
    }

    /// Ends sessions at the latest this long after they were opened.
    ///
    /// By default a session lives for 1 hour if its client is known to initialize again by itself, else
    /// for 12; this only shortens that.
    pub fn with_session_lifetime(self, lifetime: Duration) -> Self {
        self.changed(|settings| settings.longest_session = lifetime)
    }

    /// Ends a session in which no call and no stream was open for this long. Defaults to 30 minutes.
    pub fn with_idle_timeout(self, idle: Duration) -> Self {
        self.changed(|settings| settings.layer = settings.layer.clone().with_idle_timeout(idle))
    }

    /// Lets one token have this many sessions, at least one. Defaults to 64.
    pub fn with_sessions_per_token(self, sessions: usize) -> Self {
        self.changed(|settings| {
            settings.layer = settings.layer.clone().with_sessions_per_token(sessions);
        })
    }

    /// Tells `observer` of sessions and requests.
    pub fn with_observer(self, observer: impl Observer) -> Self {
        self.changed(|settings| settings.observer = Some(Arc::new(observer)))
    }

    /// Ends all sessions and streams, for good: for the end of the process.
    pub fn shut_down(&self) {
        self.shared.rmcp.config.cancellation_token.cancel();
    }

    fn changed(self, change: impl FnOnce(&mut Settings<H>)) -> Self {
        let mut settings = self.shared.settings.clone();
        change(&mut settings);
        Self::of(settings)
    }

    fn of(settings: Settings<H>) -> Self {
        let manager = Arc::new(session_manager());
        let observer = settings.observer.clone();
        let on_end = closes_session(&manager, observer.clone());
        let layer = settings.layer.clone().on_session_end(on_end);
        let rmcp = rmcp_service(&settings, manager);
        let endpoint = Endpoint::new(rmcp.clone(), settings.protocol, observer);
        Self {
            shared: Arc::new(Shared {
                settings,
                rmcp,
                sessions: layer.layer(endpoint),
            }),
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
    settings: &Settings<H>,
    manager: Arc<LocalSessionManager>,
) -> Rmcp<H> {
    let (factory, protocol) = (Arc::clone(&settings.factory), settings.protocol);
    let config = StreamableHttpServerConfig::default()
        // Host and Origin are the token layer's, which knows the names of workspaces; rmcp compares whole names.
        .disable_allowed_hosts()
        .disable_allowed_origins()
        // Concerns the era without sessions: one answer needs no stream.
        .with_json_response(true)
        .with_max_request_body_bytes(settings.body_limit);
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
    type Future = McpResponseFuture<H, B>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        McpResponseFuture::new(Arc::clone(&self.shared), request)
    }
}

impl<H> Clone for McpService<H> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<H> Clone for Settings<H> {
    fn clone(&self) -> Self {
        Self {
            layer: self.layer.clone(),
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
        let settings = &self.shared.settings;
        f.debug_struct("McpService")
            .field("protocol", &settings.protocol)
            .field("body_limit", &settings.body_limit)
            .field("sessions", &settings.layer)
            .finish_non_exhaustive()
    }
}
