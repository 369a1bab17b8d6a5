//! [`ByHost`]: sends each request to what its host and path are for.
//!
//! Agents call the MCP endpoint all day long, so it is asked without a router in between, each of which
//! would box the request's future and body once more. Everything else is for routers.

use std::{
    convert::Infallible,
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::{
    Router,
    body::{Body, HttpBody},
    response::Response as AxumResponse,
    routing::future::RouteFuture,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header::CONTENT_LENGTH, request::Parts};
use http_body_util::Either;
use pin_project_lite::pin_project;
use tower::Service;
use tower_workspace_token::{
    clock::{Clock as _, Moment, SystemClock},
    layer::{GuardedBody, RequestAddress, WorkspaceTokenService},
    rejection::Rejection,
};
use tower_workspace_token_mcp::McpResponseBody;

use super::{
    calls::{CallBody, CallLimit},
    caps,
    client_address::Arrivals,
    pace::Paced,
};
use crate::{
    activity::Tally,
    addresses::Addresses,
    mcp::ByProtocol,
    metrics::{self, Face},
};

/// The MCP endpoint of all workspaces, behind the layers that ask for its token.
pub(super) type Endpoint = Tally<WorkspaceTokenService<CallLimit<ByProtocol>>>;

/// The bodies of responses: the endpoint's and the routers'.
pub(crate) type ResponseBody = Either<GuardedBody<CallBody<McpResponseBody>>, Body>;

/// The service behind the layers that every request passes.
#[derive(Clone)]
pub(crate) struct ByHost {
    endpoint: Endpoint,
    hosts: Arc<Hosts>,
}

/// What is where, but for the endpoint.
pub(super) struct Hosts {
    pub(super) addresses: Addresses,
    pub(super) arrivals: Arrivals,
    /// Health, at any host.
    pub(super) health: Router,
    /// The server's own hosts.
    pub(super) own: Router,
    /// The hosts of workspaces.
    pub(super) workspace: Router,
    /// All other hosts.
    pub(super) foreign: Router,
    /// For those who go round the proxies that are the way.
    pub(super) bypass: Router,
}

/// Where a request goes.
enum Way<'a> {
    Endpoint,
    Router(&'a Router),
}

pin_project! {
    /// The future of [`ByHost`].
    pub(crate) struct ResponseFuture<F> {
        #[pin]
        answer: Answer<F>,
        counted: Option<Counted>,
    }
}

pin_project! {
    #[project = AnswerProjection]
    enum Answer<F> {
        Endpoint { #[pin] future: F, is_head: bool },
        Refused { response: Option<AxumResponse> },
        Router { #[pin] future: RouteFuture<Infallible> },
    }
}

/// What is counted of a request when it is answered.
struct Counted {
    face: Face,
    began: Moment,
}

impl ByHost {
    pub(super) fn new(endpoint: Endpoint, hosts: Hosts) -> Self {
        Self {
            endpoint,
            hosts: Arc::new(hosts),
        }
    }
}

impl Hosts {
    fn way(&self, parts: &Parts) -> (Way<'_>, Face) {
        let (way, face) = match RequestAddress::of(parts) {
            Ok(address) if self.addresses.is_own(address.host()) => self.way_of_own(address.path()),
            Ok(address) if self.addresses.is_workspace(address.host()) => {
                (self.way_of_workspace(address.path()), Face::Mcp)
            }
            _ => (Way::Router(&self.foreign), Face::Foreign),
        };
        if self.arrivals.is_bypass(&parts.extensions) {
            return (Way::Router(&self.bypass), face);
        }
        (way, face)
    }

    fn way_of_own(&self, path: &str) -> (Way<'_>, Face) {
        let own = Way::Router(&self.own);
        match path.strip_prefix("/mcp/") {
            Some(segment) if is_segment(segment) => (Way::Endpoint, Face::Mcp),
            Some(_) => (own, Face::Mcp),
            None if path.starts_with("/api/") => (own, Face::Api),
            None => (own, Face::Page),
        }
    }

    fn way_of_workspace(&self, path: &str) -> Way<'_> {
        match path {
            "/" | "/mcp" => Way::Endpoint,
            _ => Way::Router(&self.workspace),
        }
    }
}

impl<B> Service<Request<B>> for ByHost
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture<<Endpoint as Service<Request<Paced<B>>>>::Future>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The endpoint and routers always are.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let hosts = &*self.hosts;
        let request = hosts.arrivals.identify(request);
        if matches!(request.uri().path(), "/livez" | "/readyz") {
            return ResponseFuture {
                answer: ask(&hosts.health, request),
                counted: None,
            };
        }
        let began = metrics::are_kept().then(|| SystemClock.moment());
        let (parts, body) = request.into_parts();
        let (way, face) = hosts.way(&parts);
        let is_head = parts.method == Method::HEAD;
        let refused = caps::refuse(&parts);
        let request = Request::from_parts(parts, Paced::new(body));
        let answer = match way {
            _ if refused.is_some() => Answer::Refused { response: refused },
            Way::Endpoint => Answer::Endpoint {
                is_head,
                future: self.endpoint.call(request),
            },
            Way::Router(router) => ask(router, request),
        };
        let counted = began.map(|began| Counted { face, began });
        ResponseFuture { answer, counted }
    }
}

/// Returns whether a path that goes on with this names one thing more.
fn is_segment(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

fn ask<F, B>(router: &Router, request: Request<B>) -> Answer<F>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let future = router.clone().call(request);
    Answer::Router { future }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<ResponseBody>, Infallible>>,
{
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match this.answer.project() {
            AnswerProjection::Endpoint { future, is_head } => {
                let response = ready!(future.poll(cx))?;
                match *is_head {
                    true => without_body(response),
                    false => response,
                }
            }
            AnswerProjection::Refused { response } => response
                .take()
                .expect("a future is not polled again after it was ready")
                .map(Either::Right),
            AnswerProjection::Router { future } => ready!(future.poll(cx))?.map(Either::Right),
        };
        if let Some(Counted { face, began }) = this.counted {
            let took = SystemClock.moment().saturating_since(*began);
            let rejection = response.extensions().get::<Rejection>();
            metrics::answered(*face, response.status(), took, rejection);
        }
        Poll::Ready(Ok(response))
    }
}

/// Takes the body of an answer to HEAD away, which HTTP/2 would send, and leaves its length.
fn without_body(response: Response<ResponseBody>) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Either::Right(Body::empty()))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http_body_util::BodyExt as _;
    use tempfile::TempDir;
    use tower::ServiceExt as _;

    use super::*;
    use crate::{
        addresses::DEFAULT_LISTEN,
        app::App,
        data_dir::{DataDir, keys::KeySource},
        http::client_address::ProxyHeader,
        limits::Limits,
    };

    struct Server {
        service: ByHost,
        _directory: TempDir,
    }

    impl Server {
        async fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let data_dir = DataDir::open_or_create(&directory.path().join("data")).unwrap();
            let lock = data_dir.try_lock().unwrap().unwrap();
            let keys = KeySource::DataDir.read_or_create(&data_dir).unwrap();
            let addresses = Addresses::new(DEFAULT_LISTEN, false, None, None);
            let app = App::open(&data_dir, lock, keys, Some(addresses)).await;
            let arrivals = Arrivals {
                proxies: Arc::from([]),
                header: ProxyHeader::XForwarded,
                is_tls: false,
                is_https_outside: false,
                is_loopback_private: true,
                is_for_proxies_alone: false,
                is_insecure: false,
            };
            Self {
                service: super::super::by_host(&app.unwrap(), arrivals, &Limits::default()),
                _directory: directory,
            }
        }

        async fn ask(&self, method: Method, host: &str, path: &str) -> Response<ResponseBody> {
            let request = Request::builder().method(method).uri(path);
            let request = request.header("host", host).body(Body::empty()).unwrap();
            self.service.clone().oneshot(request).await.unwrap()
        }
    }

    /// Without a token: 401 is the token layer's, of the endpoint or of what is behind it at the same host.
    #[tokio::test]
    async fn tells_the_endpoint_from_what_is_beside_it() {
        let server = Server::new().await;
        for (method, host, path, expected) in [
            (
                Method::POST,
                "127.0.0.1:8080",
                "/mcp/abc",
                StatusCode::UNAUTHORIZED,
            ),
            (
                Method::POST,
                "localhost",
                "/mcp/abc",
                StatusCode::UNAUTHORIZED,
            ),
            (Method::GET, "localhost", "/mcp/", StatusCode::NOT_FOUND),
            (Method::GET, "localhost", "/mcp/abc/", StatusCode::NOT_FOUND),
            (
                Method::GET,
                "localhost",
                "/mcp/abc/def",
                StatusCode::NOT_FOUND,
            ),
            (Method::GET, "localhost", "/mcp", StatusCode::NOT_FOUND),
            (
                Method::POST,
                "abc.mcp.localhost",
                "/",
                StatusCode::UNAUTHORIZED,
            ),
            (
                Method::POST,
                "abc.mcp.localhost",
                "/mcp",
                StatusCode::UNAUTHORIZED,
            ),
            (
                Method::POST,
                "abc.mcp.localhost",
                "/mcp/abc",
                StatusCode::UNAUTHORIZED,
            ),
            (
                Method::POST,
                "abc.mcp.localhost",
                "/mcp/def",
                StatusCode::BAD_REQUEST,
            ),
            (
                Method::GET,
                "abc.mcp.localhost",
                "/other",
                StatusCode::UNAUTHORIZED,
            ),
            (
                Method::POST,
                "abc.mcp.localhost",
                "/register",
                StatusCode::BAD_REQUEST,
            ),
            (
                Method::POST,
                "evil.example",
                "/mcp/abc",
                StatusCode::BAD_REQUEST,
            ),
            (Method::GET, "evil.example", "/", StatusCode::BAD_REQUEST),
            (Method::GET, "evil.example", "/livez", StatusCode::OK),
        ] {
            let answer = server.ask(method, host, path).await;
            assert_eq!(answer.status(), expected, "{host}{path}");
        }
    }

    #[tokio::test]
    async fn an_answer_to_head_has_a_length_and_no_body() {
        let server = Server::new().await;
        let answer = async |method| server.ask(method, "localhost", "/mcp/abc").await;
        let whole = answer(Method::GET).await.into_body();
        let whole = whole.collect().await.unwrap().to_bytes();
        let head = answer(Method::HEAD).await;
        assert_eq!(head.headers()[CONTENT_LENGTH], whole.len().to_string());
        assert!(
            head.into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .is_empty()
        );
    }
}
