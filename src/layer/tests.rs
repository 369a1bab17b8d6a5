//! The layer, driven without a socket: what it passes on, and what is left at the end of a token.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{
    BodyExt as _, Empty, Full, StreamBody,
    channel::{Channel, Sender},
};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};

use super::*;
use crate::{
    Keys, MemoryStore, TokenAuthority, TokenName, VerifiedToken, WorkspaceId,
    clock::{ManualClock, Timestamp},
    rejection::{Rejection, RejectionKind},
};

type NoBody = Empty<Bytes>;

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

fn authority() -> TokenAuthority {
    TokenAuthority::builder(MemoryStore::new(), Keys::generate().unwrap())
        .build()
        .unwrap()
}

async fn issue(authority: &TokenAuthority) -> String {
    let issued = authority
        .issue(&acme(), &TokenName::primary())
        .await
        .unwrap();
    issued.expose_secret().to_owned()
}

async fn rotate(authority: &TokenAuthority) -> crate::authority::EndedUses {
    authority
        .rotate(&acme(), &TokenName::primary())
        .await
        .unwrap()
        .ended
}

fn layer(authority: &TokenAuthority) -> WorkspaceTokenLayer {
    WorkspaceTokenLayer::new(authority.clone(), FixedWorkspace(acme()))
}

fn request(uri: &str, token: Option<&str>) -> Request<NoBody> {
    let mut request = Request::builder().uri(uri).header(header::HOST, "a.test");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    request.body(Empty::new()).unwrap()
}

async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    String::from_utf8(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .to_vec(),
    )
    .unwrap()
}

/// Waits until a call or stream is registered with a cell of the workspace.
async fn until_a_use_is_open(authority: &TokenAuthority) {
    while authority.inner().open_uses(&acme()) == 0 {
        tokio::task::yield_now().await;
    }
}

/// Opens a stream whose last word is `bye`, and returns the other end of it.
async fn begin_stream_with_farewell(
    authority: &TokenAuthority,
    token: &str,
) -> (
    Sender<Bytes, Infallible>,
    Response<impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin + use<>>,
) {
    let (sender, channel) = Channel::<Bytes, Infallible>::new(4);
    let mut response = Response::new(channel);
    response
        .extensions_mut()
        .insert(Farewell(Bytes::from_static(b"bye")));
    let response = std::sync::Arc::new(std::sync::Mutex::new(Some(response)));
    let streaming = service_fn(move |_: Request<NoBody>| {
        ready(Ok::<_, Infallible>(
            response.lock().unwrap().take().unwrap(),
        ))
    });
    let service = layer(authority).layer(streaming);
    let response = service.oneshot(request("/", Some(token))).await.unwrap();
    (sender, response)
}

/// Answers with what it sees of the request.
fn mirror(request: Request<NoBody>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    let token = request
        .extensions()
        .get::<VerifiedToken>()
        .map(|token| token.workspace().to_string());
    let authorization = request.headers().get(header::AUTHORIZATION);
    let seen = format!("{} {token:?} {authorization:?}", request.uri());
    ready(Ok(Response::new(Full::from(seen))))
}

#[tokio::test]
async fn the_answer_to_a_query_token_is_neither_kept_nor_referred_to() {
    let authority = authority();
    let token = issue(&authority).await;
    let service = layer(&authority)
        .with_query_token("token")
        .layer(service_fn(mirror));
    for token in [&*token, "wrong"] {
        let response = service
            .clone()
            .oneshot(request(&format!("/?token={token}"), None))
            .await
            .unwrap();
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()[header::REFERRER_POLICY], "no-referrer");
    }
}

#[tokio::test]
async fn the_scrub_layer_hides_the_credential_from_the_layers_between() {
    let authority = authority();
    let token = issue(&authority).await;
    let seen = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let spy = {
        let seen = seen.clone();
        tower::util::MapRequestLayer::new(move |request: Request<NoBody>| {
            *seen.lock().unwrap() += &format!("{request:?}");
            request
        })
    };
    let service = tower::ServiceBuilder::new()
        .layer(CredentialScrubLayer::new().with_query_token("token"))
        .layer(spy)
        .layer(layer(&authority).with_query_token("token"))
        .service(service_fn(mirror));
    for (uri, bearer) in [("/x", Some(&*token)), (&*format!("/x?token={token}"), None)] {
        let response = service.clone().oneshot(request(uri, bearer)).await.unwrap();
        assert_eq!(text(response).await, r#"/x Some("acme") None"#);
    }
    let twice = format!("/x?token={token}");
    let response = service
        .clone()
        .oneshot(request(&twice, Some(&token)))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let seen = seen.lock().unwrap();
    assert!(seen.contains("a.test"), "the spy saw the requests");
    assert!(!seen.contains(&token[..40]), "{seen}");
}

#[tokio::test]
async fn what_an_outer_scrub_layer_does_not_know_of_is_taken_out_all_the_same() {
    let authority = authority();
    let token = issue(&authority).await;
    let layer = layer(&authority).with_query_token("token");
    let inner = service_fn(async |request: Request<NoBody>| {
        Ok::<_, Infallible>(Response::new(Full::from(request.uri().to_string())))
    });
    let service = CredentialScrubLayer::new().layer(layer.layer(inner));
    let target = format!("/x?a=1&token={token}");
    let response = service
        .clone()
        .oneshot(request(&target, None))
        .await
        .unwrap();
    assert_eq!(response.headers()[header::REFERRER_POLICY], "no-referrer");
    assert_eq!(text(response).await, "/x?a=1");
    let twice = request(&target, Some(&token));
    let response = service.oneshot(twice).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.headers()[header::REFERRER_POLICY], "no-referrer");
}

#[tokio::test]
async fn a_scrub_layer_switches_no_query_token_on() {
    let authority = authority();
    let token = issue(&authority).await;
    let service =
        CredentialScrubLayer::new()
            .with_query_token("token")
            .layer(
                layer(&authority).layer(service_fn(async |_request: Request<NoBody>| {
                    Ok::<_, Infallible>(Response::new(Full::from("let in")))
                })),
            );
    let in_query = request(&format!("/x?token={token}"), None);
    let response = service.clone().oneshot(in_query).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let in_header = service.oneshot(request("/x", Some(&token))).await.unwrap();
    assert_eq!(in_header.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_address_without_a_workspace_is_open_only_where_tokens_are_optional() {
    let authority = authority();
    let token = issue(&authority).await;
    let strict = WorkspaceTokenLayer::new(authority.clone(), PathTemplate::new("/w/{workspace}"));
    let optional = strict.clone().with_optional_token();
    for (layer, bearer, expected) in [
        (&strict, None, StatusCode::BAD_REQUEST),
        (&optional, None, StatusCode::OK),
        (&optional, Some(&*token), StatusCode::BAD_REQUEST),
    ] {
        let service = layer.layer(service_fn(mirror));
        let response = service.oneshot(request("/health", bearer)).await.unwrap();
        assert_eq!(response.status(), expected, "{bearer:?}");
    }
}

#[tokio::test]
async fn every_401_and_no_other_answer_names_the_page_that_helps() {
    const HELP: &str = "https://a.test/help/token-security";
    let authority = authority();
    let token = issue(&authority).await;
    let service = layer(&authority).with_help(HELP).layer(service_fn(mirror));
    let answer = |presented: Option<&'static str>| {
        let service = service.clone();
        async move {
            let response = service.oneshot(request("/", presented)).await.unwrap();
            let challenge = response.headers()[header::WWW_AUTHENTICATE].clone();
            let challenge = challenge.to_str().unwrap().to_owned();
            (challenge, text(response).await)
        }
    };
    let error_uri = format!("error_uri=\"{HELP}\"");
    for presented in [Some("garbage"), Some("${NAME}"), Some(""), None] {
        let (challenge, body) = answer(presented).await;
        // RFC 6750 §3.1: a request without credentials reads of no error.
        assert_eq!(
            challenge.contains(&error_uri),
            presented.is_some(),
            "{challenge}"
        );
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let sentence = body["error"]["message"].as_str().unwrap();
        assert!(sentence.ends_with(&format!(". Help: {HELP}")), "{sentence}");
    }
    let mut twice = request("/", Some(&token));
    let value = twice.headers()[header::AUTHORIZATION].clone();
    twice.headers_mut().append(header::AUTHORIZATION, value);
    let twice = service.oneshot(twice).await.unwrap();
    assert_eq!(twice.status(), StatusCode::BAD_REQUEST);
    assert!(!text(twice).await.contains("Help:"));
}

#[test]
fn an_address_of_help_that_would_break_out_of_its_quotes_is_refused() {
    for uri in [
        "",
        "/help",
        "ftp://a.test/",
        "https://a.test/\"",
        "https://a.test/ x",
        "https://a.test/\\",
    ] {
        let made = std::panic::catch_unwind(|| layer(&authority()).with_help(uri));
        assert!(made.is_err(), "{uri}");
    }
}

#[tokio::test]
async fn an_application_can_answer_rejections_in_its_own_way() {
    let authority = authority();
    let service = layer(&authority)
        .with_rejection_response(|rejection| {
            let mut response = Response::new(Bytes::from_static(b"own"));
            *response.status_mut() = rejection.status();
            response
        })
        .layer(service_fn(mirror));
    let response = service.oneshot(request("/", None)).await.unwrap();
    assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(*rejection.kind(), RejectionKind::MissingCredential);
    assert_eq!(text(response).await, "own");
}

#[tokio::test]
async fn a_service_that_waits_for_the_end_may_say_so_in_its_own_words() {
    let authority = authority();
    let token = issue(&authority).await;
    let polite = service_fn(|request: Request<NoBody>| async move {
        let lease = request
            .extensions()
            .get::<VerifiedToken>()
            .unwrap()
            .lease()
            .clone();
        lease.ended().await;
        let mut response = Response::new(Full::from("own words"));
        response.extensions_mut().insert(Farewell::default());
        Ok::<_, Infallible>(response)
    });
    let call = tokio::spawn(
        layer(&authority)
            .layer(polite)
            .oneshot(request("/", Some(&token))),
    );
    until_a_use_is_open(&authority).await;
    rotate(&authority).await;
    assert_eq!(text(call.await.unwrap().unwrap()).await, "own words");
}

#[tokio::test]
async fn an_open_stream_ends_with_the_farewell() {
    let authority = authority();
    let token = issue(&authority).await;
    let (mut sender, response) = begin_stream_with_farewell(&authority, &token).await;
    sender.send_data(Bytes::from_static(b"one")).await.unwrap();
    let mut body = response.into_body();
    let frame = |frame: Option<Result<http_body::Frame<Bytes>, Infallible>>| {
        frame.map(|frame| frame.unwrap().into_data().unwrap())
    };
    assert_eq!(frame(body.frame().await).unwrap(), "one");
    let reader =
        tokio::spawn(async move { (frame(body.frame().await), frame(body.frame().await)) });
    let ended = rotate(&authority).await;
    assert_eq!((ended.streams, ended.left_behind), (1, 0));
    assert_eq!(
        reader.await.unwrap(),
        (Some(Bytes::from_static(b"bye")), None)
    );
    assert!(
        sender.send_data(Bytes::from_static(b"late")).await.is_err(),
        "the inner body was dropped"
    );
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_left_behind_and_gives_nothing_more() {
    let authority = authority();
    let token = issue(&authority).await;
    let flood = service_fn(|_: Request<NoBody>| {
        let frames = tokio_stream::iter(std::iter::repeat_with(|| {
            Ok(http_body::Frame::data(Bytes::from_static(b"x")))
        }));
        ready(Ok::<_, Infallible>(Response::new(StreamBody::new(frames))))
    });
    let flood = tower::util::MapResponseLayer::new(|response: Response<_>| response.map(fix_error))
        .layer(flood);
    let mut body = layer(&authority)
        .layer(flood)
        .oneshot(request("/", Some(&token)))
        .await
        .unwrap()
        .into_body();
    assert!(body.frame().await.is_some());
    let ended = rotate(&authority).await;
    assert_eq!((ended.streams, ended.left_behind), (1, 1));
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_stream_that_was_left_behind_gives_no_farewell_and_is_not_waited_for_again() {
    let authority = authority();
    let token = issue(&authority).await;
    let (_sender, response) = begin_stream_with_farewell(&authority, &token).await;
    let first = rotate(&authority).await;
    assert_eq!((first.streams, first.left_behind), (1, 1));
    let second = rotate(&authority).await;
    assert_eq!((second.streams, second.left_behind), (0, 0));
    assert!(response.into_body().frame().await.is_none());
}

/// A response of gRPC, and the other end of its body.
async fn begin_grpc_stream(
    authority: &TokenAuthority,
    token: &str,
) -> (
    Sender<Bytes, Infallible>,
    impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin + use<>,
) {
    let (sender, channel) = Channel::<Bytes, Infallible>::new(4);
    let mut response = Response::new(channel);
    let grpc = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    let response = std::sync::Arc::new(std::sync::Mutex::new(Some(response)));
    let streaming = service_fn(move |_: Request<NoBody>| {
        ready(Ok::<_, Infallible>(
            response.lock().unwrap().take().unwrap(),
        ))
    });
    let service = layer(authority).layer(streaming);
    let response = service.oneshot(request("/", Some(token))).await.unwrap();
    (sender, response.into_body())
}

/// A client would take an end without trailers for a success, however late it reads it.
#[tokio::test]
async fn a_stream_of_grpc_that_was_left_behind_says_so_and_no_more() {
    let authority = authority();
    let token = issue(&authority).await;
    let (mut sender, mut body) = begin_grpc_stream(&authority, &token).await;
    sender.send_data(Bytes::from_static(b"late")).await.unwrap();
    let ended = rotate(&authority).await;
    assert_eq!((ended.streams, ended.left_behind), (1, 1));
    let last = body.frame().await.unwrap().unwrap();
    assert_eq!(last.into_trailers().unwrap()["grpc-status"], "16");
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_stream_of_grpc_says_which_of_the_two_tokens_ended() {
    let (authority, clock, [token, access]) = exchanged().await;
    let (_sender, mut body) = begin_grpc_stream(&authority, &access).await;
    clock.advance(Duration::from_secs(960));
    let last = body.frame().await.unwrap().unwrap();
    let said = &last.into_trailers().unwrap()["grpc-message"];
    let kind = RejectionKind::AccessTokenEnded;
    assert_eq!(*said, Rejection::new(kind).message());
    let (_sender, mut body) = begin_grpc_stream(&authority, &token).await;
    rotate(&authority).await;
    let last = body.frame().await.unwrap().unwrap();
    let said = &last.into_trailers().unwrap()["grpc-message"];
    assert_eq!(*said, Rejection::new(RejectionKind::TokenEnded).message());
}

#[tokio::test]
async fn trailers_are_the_last_word_of_a_stream() {
    let authority = authority();
    let token = issue(&authority).await;
    let (mut sender, mut body) = begin_grpc_stream(&authority, &token).await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    sender.send_trailers(trailers).await.unwrap();
    let last = body.frame().await.unwrap().unwrap();
    assert_eq!(last.into_trailers().unwrap()["grpc-status"], "0");
    let ended = rotate(&authority).await;
    assert_eq!((ended.streams, ended.left_behind), (0, 0));
    assert!(body.frame().await.is_none());
}

/// A task that gets no turn for as long as a rotation waits goes on when it gets one: not so the handler.
#[tokio::test]
async fn a_call_that_was_left_behind_is_not_polled_again() {
    let authority = authority();
    let token = issue(&authority).await;
    let polls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&polls);
    let never = service_fn(move |_: Request<NoBody>| {
        let counter = std::sync::Arc::clone(&counter);
        std::future::poll_fn(move |_| {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Poll::<Result<Response<NoBody>, Infallible>>::Pending
        })
    });
    let mut call = Box::pin(
        layer(&authority)
            .layer(never)
            .oneshot(request("/", Some(&token))),
    );
    while polls.load(std::sync::atomic::Ordering::SeqCst) == 0 {
        assert!(poll_once(&mut call).await.is_pending());
    }
    let ended = rotate(&authority).await;
    assert_eq!((ended.calls, ended.left_behind), (1, 1));
    let response = call.await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(polls.load(std::sync::atomic::Ordering::SeqCst), 1);
}

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Names the error type that the closure above leaves open.
fn fix_error<S>(body: StreamBody<S>) -> StreamBody<S>
where
    S: tokio_stream::Stream<Item = Result<http_body::Frame<Bytes>, Infallible>>,
{
    body
}

#[tokio::test]
async fn a_long_body_of_known_length_is_cut_too() {
    let authority = authority();
    let token = issue(&authority).await;
    let long = service_fn(|_: Request<NoBody>| {
        ready(Ok::<_, Infallible>(Response::new(Full::from(vec![
            0_u8;
            64 * 1024
                + 1
        ]))))
    });
    let mut body = layer(&authority)
        .layer(long)
        .oneshot(request("/", Some(&token)))
        .await
        .unwrap()
        .into_body();
    rotate(&authority).await;
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_call_that_was_let_in_but_not_begun_is_not_begun_after_a_rotation() {
    let authority = authority();
    let token = issue(&authority).await;
    let began = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let service = {
        let began = began.clone();
        service_fn(move |_: Request<NoBody>| {
            let began = began.clone();
            async move {
                began.store(true, std::sync::atomic::Ordering::SeqCst);
                Ok::<_, Infallible>(Response::new(NoBody::new()))
            }
        })
    };
    let mut service = layer(&authority).layer(service);
    service
        .ready()
        .await
        .unwrap()
        .call(request("/", Some(&token)))
        .await
        .unwrap();
    began.store(false, std::sync::atomic::Ordering::SeqCst);
    let call = service
        .ready()
        .await
        .unwrap()
        .call(request("/", Some(&token)));
    rotate(&authority).await;
    assert_eq!(call.await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert!(!began.load(std::sync::atomic::Ordering::SeqCst));
}

#[test]
fn the_future_is_send_where_its_parts_are() {
    fn assert_send<T: Send>(_: &T) {}
    let mut service = layer(&authority()).layer(service_fn(mirror));
    assert_send(&service.call(request("/", None)));
    let _pinned: Pin<Box<dyn Future<Output = _> + Send>> =
        Box::pin(service.call(request("/", None)));
}

/// An authority on a clock that stands still, a workspace token, and an access token of it.
async fn exchanged() -> (TokenAuthority, Arc<ManualClock>, [String; 2]) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
    let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate().unwrap())
        .clock(Arc::clone(&clock))
        .build()
        .unwrap();
    let token = issue(&authority).await;
    let presented = crate::token::PresentedToken::new(token.as_bytes());
    let verified = authority.verify(&acme(), presented).await.unwrap();
    let access = authority.exchange(&verified).await.unwrap();
    let access = access.expose_secret().to_owned();
    (authority, clock, [token, access])
}

/// Both clocks go on.
async fn pass(clock: &ManualClock, seconds: u64) {
    let time = Duration::from_secs(seconds);
    clock.advance(time);
    tokio::time::sleep(time).await;
    tokio::task::yield_now().await;
}

#[tokio::test]
async fn an_access_token_is_let_in_by_its_header_and_never_by_the_url() {
    let (authority, clock, [token, access]) = exchanged().await;
    let service = layer(&authority)
        .with_query_token("token")
        .layer(service_fn(mirror));
    let ask = async |request| service.clone().oneshot(request).await.unwrap();
    for _ in 0..2 {
        let answer = ask(request("/", Some(&access))).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let seen = text(answer).await;
        assert!(seen.contains("acme") && !seen.contains(&access), "{seen}");
    }
    let by_url = |token: &str| request(&format!("/?token={token}"), None);
    assert_eq!(ask(by_url(&token)).await.status(), StatusCode::OK);
    let refused = async |request| {
        let answer = ask(request).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let headers = answer.headers().clone();
        (headers, text(answer).await)
    };
    let garbage = refused(by_url("garbage")).await;
    assert_eq!(refused(by_url(&access)).await, garbage);
    let garbage = refused(request("/", Some("garbage"))).await;
    clock.advance(Duration::from_secs(900));
    assert_eq!(refused(request("/", Some(&access))).await, garbage);
}

#[tokio::test]
async fn a_handler_learns_what_let_a_request_in() {
    let (authority, _clock, [token, access]) = exchanged().await;
    let describe = service_fn(async |request: Request<NoBody>| {
        let token = request.extensions().get::<VerifiedToken>().unwrap();
        let seen = format!("{} {}", token.expires_at().is_some(), token.was_in_url());
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(seen)))
    });
    for fresh in [false, true] {
        let authority = match fresh {
            true => authority.clone(),
            // One that has to look at the store first.
            false => {
                authority.inner().doubt_everything();
                authority.clone()
            }
        };
        let service = layer(&authority).with_query_token("token").layer(describe);
        let ask = async |request| text(service.clone().oneshot(request).await.unwrap()).await;
        assert_eq!(ask(request("/", Some(&token))).await, "false false");
        authority.inner().doubt_everything();
        let by_url = format!("/?token={token}");
        assert_eq!(ask(request(&by_url, None)).await, "false true");
        assert_eq!(ask(request(&by_url, None)).await, "false true");
        assert_eq!(ask(request("/", Some(&access))).await, "true false");
        assert_eq!(ask(request("/", Some(&access))).await, "true false");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_for_a_minute_when_its_access_token_has_expired() {
    let (authority, clock, [token, access]) = exchanged().await;
    for (token, ends) in [(access, true), (token, false)] {
        let waiting = service_fn(|_: Request<NoBody>| {
            std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
        });
        let service = layer(&authority).layer(waiting);
        let call = tokio::spawn(service.oneshot(request("/", Some(&token))));
        until_a_use_is_open(&authority).await;
        pass(&clock, 959).await;
        assert!(!call.is_finished());
        pass(&clock, 1).await;
        assert_eq!(call.is_finished(), ends);
        if ends {
            let response = call.await.unwrap().unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            let rejection = response.extensions().get::<Rejection>().unwrap();
            assert_eq!(*rejection.kind(), RejectionKind::AccessTokenEnded);
            let challenge = &response.headers()[header::WWW_AUTHENTICATE];
            assert!(challenge.to_str().unwrap().contains("invalid_token"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_a_minute_after_its_access_token_with_its_farewell() {
    let (authority, clock, [token, access]) = exchanged().await;
    for (token, ends) in [(access, true), (token, false)] {
        let (_sender, response) = begin_stream_with_farewell(&authority, &token).await;
        let read = tokio::spawn(text(response));
        until_a_use_is_open(&authority).await;
        pass(&clock, 959).await;
        assert!(!read.is_finished());
        pass(&clock, 1).await;
        assert_eq!(read.is_finished(), ends);
        if ends {
            assert_eq!(read.await.unwrap(), "bye");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_after_the_minute_reaches_nobody() {
    let (authority, clock, [_token, access]) = exchanged().await;
    let (mut sender, response) = begin_stream_with_farewell(&authority, &access).await;
    clock.advance(Duration::from_secs(960));
    sender.send_data(Bytes::from_static(b"late")).await.unwrap();
    assert_eq!(text(response).await, "bye");
}

#[tokio::test]
async fn a_rotation_ends_what_access_tokens_have_begun_and_counts_it() {
    let (authority, _clock, [_token, access]) = exchanged().await;
    let (_sender, response) = begin_stream_with_farewell(&authority, &access).await;
    let waiting = service_fn(|_: Request<NoBody>| {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    });
    let service = layer(&authority).layer(waiting);
    let call = tokio::spawn(service.clone().oneshot(request("/", Some(&access))));
    while authority.inner().open_uses(&acme()) < 2 {
        tokio::task::yield_now().await;
    }
    let read = tokio::spawn(text(response));
    let ended = rotate(&authority).await;
    assert_eq!((ended.calls, ended.streams, ended.left_behind), (1, 1, 0));
    assert_eq!(read.await.unwrap(), "bye");
    assert_eq!(
        call.await.unwrap().unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
    let next = service.oneshot(request("/", Some(&access))).await.unwrap();
    assert_eq!(next.status(), StatusCode::UNAUTHORIZED);
}
