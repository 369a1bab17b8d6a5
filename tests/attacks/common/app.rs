//! One application in both frameworks: whatever is tried is tried on each.

use std::{borrow::Borrow, convert::Infallible};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tower::{BoxError, Layer as _, Service, ServiceExt as _, util::BoxCloneSyncService};
use tower_workspace_token::{VerifiedToken, WorkspaceTokenLayer, warp::verified_token};
use warp::Filter as _;

/// A warp application with its layers around it.
pub(crate) type Warp = BoxCloneSyncService<Request<Incoming>, Response<Body>, Infallible>;

/// An application, as each framework serves it.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) axum: Router,
    pub(crate) warp: Warp,
}

impl App {
    /// Serves `axum` in axum, and in warp what `service` is.
    pub(crate) fn new<S, B>(axum: Router, service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let service = service.map_response(|response: Response<B>| response.map(Body::new));
        Self {
            axum,
            warp: BoxCloneSyncService::new(service),
        }
    }
}

/// For what asks the axum application alone, without a socket.
impl Borrow<Router> for App {
    fn borrow(&self) -> &Router {
        &self.axum
    }
}

/// An application whose every path answers 200 with the workspace to whoever is let in.
pub(crate) fn protect(layer: WorkspaceTokenLayer) -> App {
    let handler = async |token: VerifiedToken| token.workspace().to_string();
    let filter = verified_token().map(|token: VerifiedToken| token.workspace().to_string());
    let service = layer.layer(warp::service(filter));
    App::new(Router::new().fallback(handler).layer(layer), service)
}
