//! A warp application behind the layer, served by `serve`, over a real socket.

#![cfg(feature = "warp")]
#![expect(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    convert::Infallible, fmt::Debug, future::IntoFuture as _, net::SocketAddr, time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Empty};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_stream::StreamExt as _;
use tower::ServiceExt as _;
use tower_workspace_token::{
    Keys, MemoryStore, PathTemplate, TokenAuthority, TokenName, VerifiedToken, WorkspaceId,
    WorkspaceTokenLayer,
    warp::{Layer as _, Unprotected, optional_token, serve, verified_token},
};
use warp::{Filter, Rejection, Reply, filters::BoxedFilter, http::StatusCode, sse::Event};

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(5);

struct App {
    address: SocketAddr,
    authority: TokenAuthority,
    token: String,
}

impl App {
    async fn start() -> Self {
        Self::start_with(|layer| layer).await
    }

    async fn start_with(set_up: impl FnOnce(WorkspaceTokenLayer) -> WorkspaceTokenLayer) -> Self {
        let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate().unwrap())
            .build()
            .unwrap();
        let issued = authority
            .issue(&acme(), &TokenName::primary())
            .await
            .unwrap();
        let layer =
            WorkspaceTokenLayer::new(authority.clone(), PathTemplate::new("/w/{workspace}/*"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = set_up(layer).layer(warp::service(routes()));
        tokio::spawn(serve(listener, service).into_future());
        Self {
            address,
            authority,
            token: issued.expose_secret().to_owned(),
        }
    }

    /// Sends `GET target` with `headers`, a line each.
    async fn send(&self, target: &str, headers: &[&str]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let headers: String = headers
            .iter()
            .map(|header| format!("{header}\r\n"))
            .collect();
        let request = format!("GET {target} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn get(&self, target: &str, headers: &[&str]) -> String {
        read_to_end(&mut self.send(target, headers).await).await
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.token)
    }
}

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

fn routes() -> BoxedFilter<(impl Reply,)> {
    let workspace = warp::path("w").and(warp::path::param::<String>().map(drop).untuple_one());
    let notes = warp::path!("notes")
        .and(verified_token())
        .map(|token: VerifiedToken| format!("notes of {}", token.workspace()));
    let request = warp::path!("request")
        .and(warp::header::headers_cloned())
        .and(raw_query())
        .map(|headers: HeaderMap, query| format!("seen: {headers:?} {query}"));
    let who = warp::path!("who")
        .and(optional_token())
        .map(|token: Option<VerifiedToken>| match token {
            Some(token) => format!("{} of {}", token.name(), token.workspace()),
            None => "nobody".to_owned(),
        });
    let stream = warp::path!("stream").and(verified_token()).map(|_token| {
        let first = tokio_stream::once(Ok::<_, Infallible>(Event::default().data("first")));
        warp::sse::reply(first.chain(tokio_stream::pending()))
    });
    workspace.and(notes.or(request).or(who).or(stream)).boxed()
}

fn raw_query() -> impl Filter<Extract = (String,), Error = Infallible> + Clone {
    warp::query::raw().or(warp::any().map(String::new)).unify()
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text))
        .await
        .expect("the response ends")
        .unwrap();
    text
}

/// Answers a request that came through no layer.
async fn answer(
    routes: impl Filter<Extract = (impl Reply,), Error = Rejection>,
) -> Response<impl Body<Data: Debug, Error: Debug>> {
    let request = Request::new(Empty::<Bytes>::new());
    warp::service(routes).oneshot(request).await.unwrap()
}

#[track_caller]
fn assert_begins(response: &str, status: &str) {
    assert!(
        response.starts_with(&format!("HTTP/1.1 {status}")),
        "{response}"
    );
}

const HOST: &str = "Host: localhost";

#[tokio::test]
async fn a_filter_gets_the_token_that_was_verified() {
    let app = App::start().await;
    let response = app.get("/w/acme/notes", &[HOST, &app.bearer()]).await;
    assert_begins(&response, "200");
    assert!(response.ends_with("notes of acme"), "{response}");
}

#[tokio::test]
async fn no_token_is_a_401_with_a_challenge_and_no_error_code() {
    let app = App::start().await;
    let response = app.get("/w/acme/notes", &[HOST]).await;
    assert_begins(&response, "401");
    assert!(response.contains("www-authenticate: Bearer"), "{response}");
    assert!(!response.contains("error=\""), "{response}");
}

#[tokio::test]
async fn a_wrong_token_and_one_of_another_workspace_are_401() {
    let app = App::start().await;
    let wrong = app
        .get("/w/acme/notes", &[HOST, "Authorization: Bearer wrong"])
        .await;
    let foreign = app.get("/w/other/notes", &[HOST, &app.bearer()]).await;
    for response in [wrong, foreign] {
        assert_begins(&response, "401");
        assert!(response.contains("error=\"invalid_token\""), "{response}");
    }
}

#[tokio::test]
async fn two_credentials_are_400_even_when_equal() {
    let app = App::start().await;
    let bearer = app.bearer();
    let response = app.get("/w/acme/notes", &[HOST, &bearer, &bearer]).await;
    assert_begins(&response, "400");
}

#[tokio::test]
async fn a_rotated_token_is_401_and_the_new_one_is_not() {
    let app = App::start().await;
    let receipt = app
        .authority
        .rotate(&acme(), &TokenName::primary())
        .await
        .unwrap();
    let old = app.get("/w/acme/notes", &[HOST, &app.bearer()]).await;
    assert_begins(&old, "401");
    let new = format!("Authorization: Bearer {}", receipt.token.expose_secret());
    assert_begins(&app.get("/w/acme/notes", &[HOST, &new]).await, "200");
}

#[tokio::test]
async fn a_filter_does_not_see_the_credential() {
    let app = App::start_with(|layer| layer.with_query_token("token")).await;
    let in_query = format!("/w/acme/request?a=1&token={}&b=2", app.token);
    let responses = [
        app.get("/w/acme/request?a=1&b=2", &[HOST, &app.bearer()])
            .await,
        app.get(&in_query, &[HOST]).await,
    ];
    let secret = app.token.rsplit('.').next().unwrap();
    for response in responses {
        assert_begins(&response, "200");
        assert!(response.ends_with("a=1&b=2"), "{response}");
        assert!(!response.contains(secret), "{response}");
    }
}

#[tokio::test]
async fn a_rotation_ends_an_open_stream_cleanly() {
    let app = App::start().await;
    let mut stream = app.send("/w/acme/stream", &[HOST, &app.bearer()]).await;
    let mut begun = String::new();
    while !begun.contains("data:first") {
        let byte = timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap();
        begun.push(char::from(byte));
    }
    let receipt = app
        .authority
        .rotate(&acme(), &TokenName::primary())
        .await
        .unwrap();
    assert_eq!((receipt.ended.streams, receipt.ended.left_behind), (1, 0));
    let rest = read_to_end(&mut stream).await;
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
}

#[tokio::test]
async fn an_optional_token_may_be_absent_but_not_wrong() {
    let app = App::start_with(WorkspaceTokenLayer::with_optional_token).await;
    let absent = app.get("/w/acme/who", &[HOST]).await;
    assert!(absent.ends_with("nobody"), "{absent}");
    let present = app.get("/w/acme/who", &[HOST, &app.bearer()]).await;
    assert!(present.ends_with("primary of acme"), "{present}");
    let wrong = app
        .get("/w/acme/who", &[HOST, "Authorization: Bearer wrong"])
        .await;
    assert_begins(&wrong, "401");
}

#[tokio::test]
async fn a_missing_host_is_400() {
    let app = App::start().await;
    let response = app.get("/w/acme/notes", &[&app.bearer()]).await;
    assert_begins(&response, "400");
}

#[tokio::test]
async fn a_token_in_the_query_counts_only_where_it_is_enabled() {
    let target = |app: &App| format!("/w/acme/notes?token={}", app.token);
    let disabled = App::start().await;
    assert_begins(&disabled.get(&target(&disabled), &[HOST]).await, "401");
    let enabled = App::start_with(|layer| layer.with_query_token("token")).await;
    let response = enabled.get(&target(&enabled), &[HOST]).await;
    assert_begins(&response, "200");
    assert!(response.contains("cache-control: no-store"), "{response}");
}

#[tokio::test]
async fn without_the_layer_the_filter_rejects_and_says_why() {
    let unprotected = verified_token().map(|token: VerifiedToken| token.workspace().to_string());
    let response = answer(unprotected).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("no WorkspaceTokenLayer"), "{body}");
}

#[tokio::test]
async fn an_application_may_answer_the_rejection_itself() {
    async fn sign_in(rejection: Rejection) -> Result<impl Reply, Rejection> {
        match rejection.find::<Unprotected>() {
            Some(_) => Ok(StatusCode::UNAUTHORIZED),
            None => Err(rejection),
        }
    }
    let routes = verified_token().map(|_token| "inside").recover(sign_in);
    let response = answer(routes).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
