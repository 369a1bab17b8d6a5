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
    addresses::{Addresses, EXCHANGE},
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
    /// Where access tokens are got, at either kind of host.
    pub(super) exchange: Router,
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
    fn way(&self, parts: &Parts, is_bypass: bool) -> (Way<'_>, Face) {
        let (way, face) = self.way_of_address(parts);
        match is_bypass {
            true => (Way::Router(&self.bypass), face),
            false => (way, face),
        }
    }

    fn way_of_address(&self, parts: &Parts) -> (Way<'_>, Face) {
        match RequestAddress::of(parts) {
            Ok(address) if self.addresses.is_own(address.host()) => self.way_of_own(address.path()),
            Ok(address) if self.addresses.is_workspace(address.host()) => {
                (self.way_of_workspace(address.path()), Face::Mcp)
            }
            _ => (Way::Router(&self.foreign), Face::Foreign),
        }
    }

    fn way_of_own(&self, path: &str) -> (Way<'_>, Face) {
        let own = Way::Router(&self.own);
        match path.strip_prefix("/mcp/") {
            Some(segment) if is_segment(segment) => (Way::Endpoint, Face::Mcp),
            Some(rest) if rest.strip_suffix(EXCHANGE).is_some_and(is_segment) => {
                (Way::Router(&self.exchange), Face::Mcp)
            }
            Some(_) => (own, Face::Mcp),
            None if path.starts_with("/api/") => (own, Face::Api),
            None => (own, Face::Page),
        }
    }

    fn way_of_workspace(&self, path: &str) -> Way<'_> {
        match path {
            "/" | "/mcp" => Way::Endpoint,
            EXCHANGE | "/mcp/token" => Way::Router(&self.exchange),
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
        let is_bypass = hosts.arrivals.is_bypass(&parts.extensions);
        let (way, face) = hosts.way(&parts, is_bypass);
        let is_head = parts.method == Method::HEAD;
        let refused = caps::refuse(&parts).filter(|_| !is_bypass);
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
                let response = with_length(ready!(future.poll(cx))?);
                match *is_head {
                    true => response.map(|_| Either::Right(Body::empty())),
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

/// Says how long an answer is, as routers do: HTTP/2 does not say it of one without a body, nor of one to HEAD,
/// whose body it would send.
fn with_length(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    if let Some(length) = response.body().size_hint().exact() {
        let length = HeaderValue::from(length);
        response
            .headers_mut()
            .entry(CONTENT_LENGTH)
            .or_insert(length);
    }
    response
}

#[cfg(test)]
mod tests {
    use http::{StatusCode, Version};
    use http_body_util::BodyExt as _;
    use tempfile::TempDir;
    use tower::ServiceExt as _;

    use super::*;
    use crate::{
        addresses::DEFAULT_LISTEN,
        app::App,
        at_rest::AtRest,
        data_dir::{DataDir, keys::KeySource},
        limits::Limits,
    };

    struct Server {
        service: ByHost,
        _directory: TempDir,
    }

    impl Server {
        async fn new() -> Self {
            Self::with(|_| ()).await
        }

        async fn with(change: impl FnOnce(&mut Arrivals)) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let data_dir = DataDir::open_or_create(&directory.path().join("data")).unwrap();
            let lock = data_dir.try_lock().unwrap().unwrap();
            let database = crate::db::DatabasePlace::Sqlite
                .find(&data_dir)
                .await
                .unwrap();
            let keys = KeySource::DataDir.read_or_create(&data_dir, true).unwrap();
            let addresses = Addresses::new(DEFAULT_LISTEN, false, None, None);
            let app = App::open(
                &data_dir,
                lock,
                database,
                keys,
                Some(addresses),
                &AtRest::default(),
            )
            .await;
            let mut arrivals = Arrivals::on_loopback();
            change(&mut arrivals);
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
        use StatusCode as S;
        let server = Server::new().await;
        for (method, host, path, expected) in [
            ("POST", "127.0.0.1:8080", "/mcp/abc", S::UNAUTHORIZED),
            ("POST", "localhost", "/mcp/abc", S::UNAUTHORIZED),
            ("OPTIONS", "localhost", "/mcp/abc", S::UNAUTHORIZED),
            (
                "POST",
                "localhost",
                "http://localhost/mcp/abc",
                S::UNAUTHORIZED,
            ),
            ("POST", "localhost", "/mcp/%61bc", S::BAD_REQUEST),
            ("POST", "localhost", "/mcp/a%2Fb", S::BAD_REQUEST),
            ("GET", "localhost", "/mcp/", S::NOT_FOUND),
            ("GET", "localhost", "/mcp/abc/", S::NOT_FOUND),
            ("GET", "localhost", "/mcp/abc/def", S::NOT_FOUND),
            ("GET", "localhost", "/mcp", S::NOT_FOUND),
            ("POST", "abc.mcp.localhost", "/", S::UNAUTHORIZED),
            ("POST", "abc.mcp.localhost", "/mcp", S::UNAUTHORIZED),
            ("POST", "abc.mcp.localhost", "/mcp/abc", S::UNAUTHORIZED),
            ("POST", "abc.mcp.localhost", "/mcp/def", S::BAD_REQUEST),
            ("POST", "localhost", "/mcp/abc/token", S::UNAUTHORIZED),
            ("GET", "localhost", "/mcp/abc/token", S::UNAUTHORIZED),
            ("POST", "localhost", "/mcp/token", S::UNAUTHORIZED),
            ("POST", "localhost", "/mcp/token/token", S::UNAUTHORIZED),
            ("POST", "localhost", "/mcp/a%2Fb/token", S::BAD_REQUEST),
            ("POST", "localhost", "/mcp//token", S::NOT_FOUND),
            ("POST", "localhost", "/mcp/abc/token/", S::NOT_FOUND),
            ("POST", "localhost", "/token", S::NOT_FOUND),
            ("POST", "abc.mcp.localhost", "/token", S::UNAUTHORIZED),
            ("POST", "abc.mcp.localhost", "/mcp/token", S::UNAUTHORIZED),
            (
                "POST",
                "abc.mcp.localhost",
                "/mcp/def/token",
                S::BAD_REQUEST,
            ),
            ("POST", "evil.example", "/mcp/abc/token", S::BAD_REQUEST),
            ("GET", "abc.mcp.localhost", "/other", S::UNAUTHORIZED),
            ("POST", "abc.mcp.localhost", "/register", S::BAD_REQUEST),
            ("POST", "evil.example", "/mcp/abc", S::BAD_REQUEST),
            ("GET", "evil.example", "/", S::BAD_REQUEST),
            ("GET", "evil.example", "/livez", S::OK),
        ] {
            let answer = server.ask(method.parse().unwrap(), host, path).await;
            assert_eq!(answer.status(), expected, "{method} {host} {path}");
        }
    }

    #[tokio::test]
    async fn who_goes_round_the_proxies_reaches_nothing_but_health() {
        let server = Server::with(|arrivals| arrivals.is_for_proxies_alone = true).await;
        for (host, path, expected) in [
            ("localhost", "/mcp/abc", StatusCode::FORBIDDEN),
            ("localhost", "/mcp/abc/token", StatusCode::FORBIDDEN),
            ("abc.mcp.localhost", "/token", StatusCode::FORBIDDEN),
            ("abc.mcp.localhost", "/", StatusCode::FORBIDDEN),
            ("abc.mcp.localhost", "/mcp", StatusCode::FORBIDDEN),
            ("abc.mcp.localhost", "/other", StatusCode::FORBIDDEN),
            ("localhost", "/login", StatusCode::FORBIDDEN),
            ("localhost", "/livez", StatusCode::OK),
        ] {
            let answer = server.ask(Method::GET, host, path).await;
            assert_eq!(answer.status(), expected, "{host}{path}");
        }
    }

    /// The host is in the target alone there.
    #[tokio::test]
    async fn tokens_that_fail_are_counted_over_http_2_as_well() {
        let server = Server::new().await;
        let fail = async || {
            let request = Request::post("http://abc.mcp.localhost/").version(Version::HTTP_2);
            let request = request.header("authorization", "Bearer none");
            let request = request.body(Body::empty()).unwrap();
            let answer = server.service.clone().oneshot(request).await;
            answer.unwrap().status()
        };
        let mut refused = 0;
        // One more a second is none: some come meanwhile.
        while fail().await == StatusCode::UNAUTHORIZED {
            refused += 1;
            assert!(refused < 10_000, "nobody counts");
        }
        assert!(refused >= Limits::default().failed_tokens_per_minute.get());
        assert_eq!(fail().await, StatusCode::TOO_MANY_REQUESTS);
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
