//! A stack at work: an application under the layer, a workspace with a token, and a client.

use std::{future::Future, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header::AUTHORIZATION};
use http_body_util::Full;
use tokio::{net::TcpListener, time::timeout};
use tower_workspace_token::{
    PathTemplate, SessionLayer, TokenAuthority, WorkspaceTokenLayer, testing::TestWorkspace,
};

use crate::{
    client::{Answer, Opened, PATIENCE, Wire},
    desk::Desk,
};

/// A framework, or a way to put services together in one.
pub(crate) trait Stack: 'static {
    const WIRE: Wire;

    /// Makes the layer as this stack needs it.
    fn layer(authority: &TokenAuthority) -> WorkspaceTokenLayer {
        WorkspaceTokenLayer::new(authority.clone(), PathTemplate::new("/w/{workspace}/*"))
    }

    /// Serves the application: `whoami` wants a token, `who` may have one, `hang` never answers, `stream` never ends,
    /// and `mcp` is under `sessions`.
    fn serve(
        listener: TcpListener,
        layer: WorkspaceTokenLayer,
        sessions: SessionLayer,
        desk: Desk,
    ) -> impl Future<Output = ()> + Send;
}

pub(crate) struct Scene {
    pub(crate) test: TestWorkspace,
    pub(crate) desk: Desk,
    pub(crate) wire: Wire,
    address: SocketAddr,
}

impl Scene {
    pub(crate) async fn new<S: Stack>() -> Self {
        Self::with::<S>(|layer| layer).await
    }

    /// A scene whose layer has options.
    pub(crate) async fn with<S: Stack>(
        change: impl FnOnce(WorkspaceTokenLayer) -> WorkspaceTokenLayer,
    ) -> Self {
        let test = TestWorkspace::new().await;
        let desk = Desk::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let layer = change(S::layer(test.authority()));
        let sessions = SessionLayer::new(test.authority().clone());
        tokio::spawn(S::serve(listener, layer, sessions, desk.clone()));
        Self {
            test,
            desk,
            wire: S::WIRE,
            address,
        }
    }

    /// A request for a page of the workspace, without a credential.
    pub(crate) fn anonymous(&self, page: &str) -> Request<Full<Bytes>> {
        self.wire.request(Method::GET, "acme", page)
    }

    /// A request with the current token.
    pub(crate) fn request(&self, page: &str) -> Request<Full<Bytes>> {
        authorized(self.anonymous(page), self.test.bearer())
    }

    pub(crate) async fn open(&self, request: Request<Full<Bytes>>) -> Opened {
        self.wire.open(self.address, request).await
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        self.open(request).await.finish().await
    }

    /// Sends a request in a task of its own, and returns when its handler waits.
    pub(crate) async fn begin(&self, page: &str) -> tokio::task::JoinHandle<Answer> {
        let (wire, address, request) = (self.wire, self.address, self.request(page));
        let call = tokio::spawn(async move { wire.open(address, request).await.finish().await });
        self.until_open().await;
        call
    }

    /// Waits until a handler waits, or a stream is open.
    pub(crate) async fn until_open(&self) {
        let opens = async {
            while self.desk.open() == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, opens).await.expect("it is called");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

pub(crate) fn authorized<B>(mut request: Request<B>, bearer: HeaderValue) -> Request<B> {
    request.headers_mut().insert(AUTHORIZATION, bearer);
    request
}
