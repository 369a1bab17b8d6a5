//! [`TallyLayer`]: counts what the token layer lets in and what it turns away, and has the failure limit
//! asked of what it turns away. Stands around it.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::body::Body;
use http::{HeaderValue, Request, Response, Uri, Version, header::HOST, header::USER_AGENT};
use http_body_util::Either;
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tower_workspace_token::{id::WorkspaceId, layer::RequestAddress, rejection::Rejection};

use super::{Activity, Client, figures};
use crate::{
    addresses::Addresses,
    app::App,
    http::{
        client_address::Arrival,
        failures::{self, FailureLimit},
    },
};

/// Counts requests.
#[derive(Clone, Debug)]
pub(crate) struct TallyLayer {
    /// Shared, since each request holds it.
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    activity: Activity,
    addresses: Addresses,
    failures: FailureLimit,
}

/// The service of a [`TallyLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Tally<S> {
    inner: S,
    layer: TallyLayer,
}

pin_project! {
    /// The future of a [`Tally`].
    pub(crate) struct TallyFuture<F> {
        #[pin]
        inner: F,
        layer: TallyLayer,
        asked: Asked,
    }
}

/// What is kept of a request in case that it is turned away: shared pieces of it, no copies.
struct Asked {
    address: Option<IpAddr>,
    agent: Option<HeaderValue>,
    host: Option<HeaderValue>,
    uri: Uri,
    /// In HTTP/2 the host may be in the target alone.
    version: Version,
}

impl TallyLayer {
    pub(crate) fn new(app: &App, failures: FailureLimit) -> Self {
        let shared = Shared {
            activity: app.activity().clone(),
            addresses: app.addresses().clone(),
            failures,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Counts an answer. Returns how many seconds the client is to wait if it failed too often.
    fn note<B>(&self, asked: &mut Asked, response: &Response<B>) -> Option<u64> {
        let Some(rejection) = response.extensions().get::<Rejection>() else {
            figures::answered(response.status());
            return None;
        };
        let workspace = self.workspace(asked);
        let agent = asked.agent.as_ref();
        let agent = || agent.map(Client::of_agent).unwrap_or_default();
        let Shared {
            activity, failures, ..
        } = &*self.shared;
        activity.rejected(rejection, workspace.as_ref(), asked.address, agent);
        failures.count(rejection.kind(), asked.address, &workspace?)
    }

    /// Returns the workspace that a request named.
    fn workspace(&self, asked: &mut Asked) -> Option<WorkspaceId> {
        let mut request = Request::new(());
        *request.uri_mut() = std::mem::take(&mut asked.uri);
        *request.version_mut() = asked.version;
        if let Some(host) = asked.host.take() {
            request.headers_mut().insert(HOST, host);
        }
        let (parts, ()) = request.into_parts();
        let address = RequestAddress::of(&parts).ok()?;
        self.shared.addresses.resolve(&address).ok()
    }
}

impl<S> Layer<S> for TallyLayer {
    type Service = Tally<S>;

    fn layer(&self, inner: S) -> Tally<S> {
        Tally {
            inner,
            layer: self.clone(),
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Tally<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<Either<ResBody, Body>>;
    type Error = S::Error;
    type Future = TallyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let asked = Asked {
            address: Arrival::address(request.extensions()),
            agent: request.headers().get(USER_AGENT).cloned(),
            host: request.headers().get(HOST).cloned(),
            uri: request.uri().clone(),
            version: request.version(),
        };
        TallyFuture {
            inner: self.inner.call(request),
            layer: self.layer.clone(),
            asked,
        }
    }
}

impl<F, B, E> Future for TallyFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Either<B, Body>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok(match this.layer.note(this.asked, &response) {
            None => response.map(Either::Left),
            Some(seconds) => failures::too_often(response, seconds).map(Either::Right),
        }))
    }
}
