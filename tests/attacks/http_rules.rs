//! The rules of HTTP and of sessions: a named test for each that the table alone cannot prove.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, response::Response};
use bytes::Bytes;
use http::{Method, Request, Version, header};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;
use tower_workspace_token::{VerifiedToken, store::Freshness};

use crate::{
    common::{
        TARGET, World, bearer, get,
        send::{Answer, oneshot, wire},
    },
    sessions::{Desk, IDLE, SESSION_ID, call, call_with},
};

/// A response body that gives one frame and then stays open.
fn open_ended() -> Body {
    let first = tokio_stream::once(Ok::<_, std::io::Error>("first"));
    Body::from_stream(tokio_stream::StreamExt::chain(
        first,
        tokio_stream::pending(),
    ))
}

async fn open_stream(app: &Router, token: &str) -> Body {
    let response = app.clone().oneshot(bearer(token.as_bytes())).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "first"
    );
    body
}

/// Waits until the body ends, cleanly and without another frame.
async fn ends(mut body: Body) -> bool {
    matches!(
        timeout(Duration::from_secs(5), body.frame()).await,
        Ok(None)
    )
}

fn streaming(world: &World) -> Router {
    Router::new()
        .fallback(async |_token: VerifiedToken| open_ended())
        .layer(world.path_layer())
}

/// Rule 6, HTTP/2: `:authority` and `Host` have to agree, and one of them may be missing there.
#[tokio::test]
async fn a_contradictory_authority_of_http_2_is_refused() {
    let world = World::new().await;
    let app = world.by_host();
    let send = async |uri: &str, host: Option<&str>| {
        let mut request = Request::get(uri)
            .version(Version::HTTP_2)
            .header(header::AUTHORIZATION, format!("Bearer {}", world.token));
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        oneshot(&app, request.body(Body::empty()).unwrap())
            .await
            .status
    };
    let right = "https://acme.mcp.test/mcp";
    assert_eq!(send(right, None).await, 200);
    assert_eq!(send(right, Some("acme.mcp.test")).await, 200);
    assert_eq!(send(right, Some("other.mcp.test")).await, 400);
    assert_eq!(
        send("https://other.mcp.test/mcp", Some("acme.mcp.test")).await,
        400
    );
    assert_eq!(send("https://u@acme.mcp.test/mcp", None).await, 400);
    assert_eq!(send("/mcp", None).await, 400);
}

/// Rule 9: Host → Origin → places → token → session, and each earlier fault hides the later ones.
#[tokio::test]
async fn the_first_fault_answers() {
    let desk = Desk::new().await;
    let token = desk.world.token.clone();
    let session = desk.open(&token).await;
    let good = || call(Method::POST, &token, &[&session]);
    type Break = fn(&mut Request<Body>);
    let faults: [(u16, Break); 5] = [
        (400, |request| {
            request
                .headers_mut()
                .append("host", "b.test".parse().unwrap());
        }),
        (403, |request| {
            request
                .headers_mut()
                .insert("origin", "https://evil.test".parse().unwrap());
        }),
        (400, |request| {
            request
                .headers_mut()
                .append("authorization", "Bearer y".parse().unwrap());
        }),
        (401, |request| {
            for value in request
                .headers_mut()
                .iter_mut()
                .filter(|(name, _)| *name == "authorization")
            {
                *value.1 = "Bearer x".parse().unwrap();
            }
        }),
        (404, |request| {
            request
                .headers_mut()
                .insert(SESSION_ID, "x".parse().unwrap());
        }),
    ];
    assert_eq!(oneshot(&desk.app, good()).await.status, 200);
    let mut answers: Vec<Answer> = Vec::new();
    for (status, fault) in faults {
        let mut request = good();
        fault(&mut request);
        let answer = oneshot(&desk.app, request).await;
        assert_eq!(answer.status, status);
        answers.push(answer);
    }
    for (first, answer) in answers.iter().enumerate() {
        for (_, fault) in &faults[first + 1..] {
            let mut request = good();
            faults[first].1(&mut request);
            fault(&mut request);
            assert_eq!(
                &oneshot(&desk.app, request).await,
                answer,
                "fault {first} first"
            );
        }
    }
}

/// Rule 10: a request that is turned away leaves its body unread.
#[tokio::test]
async fn the_body_of_a_request_that_is_turned_away_is_not_read() {
    struct Counted(Arc<AtomicUsize>);
    impl http_body::Body for Counted {
        type Data = Bytes;
        type Error = std::io::Error;
        fn poll_frame(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Poll::Ready(None)
        }
    }
    let world = World::new().await;
    let read = Arc::<AtomicUsize>::default();
    let app = Router::new()
        .fallback(async |_token: VerifiedToken, _body: Bytes| ())
        .layer(world.path_layer());
    let send = async |token: &str| {
        let request = bearer(token.as_bytes()).map(|_| Body::new(Counted(Arc::clone(&read))));
        oneshot(&app, request).await.status
    };
    assert_eq!(send("x").await, 401);
    assert_eq!(read.load(Ordering::SeqCst), 0);
    assert_eq!(send(&world.token).await, 200);
    assert!(read.load(Ordering::SeqCst) > 0, "the control reads it");
}

/// A request with a length and chunks is answered once, and what stands behind it not at all.
#[tokio::test]
async fn a_request_with_two_ends_smuggles_nothing() {
    let world = World::new().await;
    let token = &world.token;
    let hidden = "GET /mcp HTTP/1.1\r\nHost: acme.mcp.test\r\nConnection: close\r\n\r\n";
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: acme.mcp.test\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        hidden.len() + 5
    );
    let answers = wire(&world.by_host(), request.as_bytes()).await;
    let let_in = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(let_in <= 1, "{answers:?}");
}

/// A route that nothing protects answers 500 to whoever asks for a token in it.
#[tokio::test]
async fn a_handler_that_no_layer_protects_is_not_called() {
    let app = Router::new().fallback(async |_token: VerifiedToken| "let in");
    let answer = oneshot(&app, bearer(b"x")).await;
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("let in"));
}

/// Rule 25: what the client holds is not what the inner service knows, and tells nothing of it.
#[tokio::test]
async fn the_inner_session_id_stays_inside() {
    let desk = Desk::new().await;
    let token = &desk.world.token;
    let session = desk.open(token).await;
    let answer = desk.post(token, &session).await;
    assert_eq!(
        answer.text(),
        "in inner-1",
        "the inner service gets its own id back"
    );
    assert!(!crate::common::oracle::payload(&session).contains("inner"));
    let answer = oneshot(
        &desk.app,
        call_with(Method::POST, token, &[&session], &[("x-reopen", "1")]),
    )
    .await;
    assert_eq!(answer.header(SESSION_ID), Some(session.as_str()));
}

/// Rule 25: the cap is per token. Who has many loses the idlest of their own.
#[tokio::test]
async fn one_holder_cannot_evict_the_sessions_of_another() {
    let desk = Desk::with(|layer| layer.with_sessions_per_token(2)).await;
    let first = desk.world.token.clone();
    let second = desk.world.issue("acme", "second").await;
    let others = [desk.open(&second).await, desk.open(&second).await];
    let mut own = Vec::new();
    for _ in 0..20 {
        own.push(desk.open(&first).await);
        desk.world.clock.advance(Duration::from_secs(1));
    }
    for session in &others {
        assert_eq!(desk.post(&second, session).await.status, 200);
    }
    assert_eq!(
        desk.ended.lock().unwrap().len(),
        18,
        "the inner service hears of each"
    );
    let (gone, kept) = own.split_at(18);
    for session in gone {
        assert_eq!(desk.post(&first, session).await.status, 404);
    }
    for session in kept {
        assert_eq!(desk.post(&first, session).await.status, 200);
    }
}

/// Rule 25: a session that somebody else names is not ended by it.
#[tokio::test]
async fn naming_a_foreign_session_does_it_no_harm() {
    let desk = Desk::new().await;
    let token = desk.world.token.clone();
    let second = desk.world.issue("acme", "second").await;
    let session = desk.open(&token).await;
    for method in [Method::POST, Method::GET, Method::DELETE] {
        assert_eq!(
            oneshot(&desk.app, call(method, &second, &[&session]))
                .await
                .status,
            404
        );
    }
    assert_eq!(desk.post(&token, &session).await.status, 200);
    assert!(desk.ended.lock().unwrap().is_empty());
}

/// Rule 25: neither a modern header nor an `initialize` inside of a session gets round the cap.
#[tokio::test]
async fn no_inner_session_is_opened_beside_ours() {
    let desk = Desk::new().await;
    let token = desk.world.token.clone();
    let session = desk.open(&token).await;
    let modern = [("mcp-protocol-version", "2026-07-28")];
    let answer = oneshot(
        &desk.app,
        call_with(Method::POST, &token, &[&session], &modern),
    )
    .await;
    assert_eq!(
        answer.header(SESSION_ID),
        None,
        "there are no sessions in this era"
    );
    assert_eq!(
        answer.text(),
        "opened",
        "the stale session was taken off the request"
    );
    assert_eq!(*desk.ended.lock().unwrap(), ["inner-2"]);
    let again = [("x-reopen", "1")];
    oneshot(
        &desk.app,
        call_with(Method::POST, &token, &[&session], &again),
    )
    .await;
    assert_eq!(*desk.ended.lock().unwrap(), ["inner-2", "inner-1-again"]);
    assert_eq!(desk.post(&token, &session).await.status, 200);
}

/// Rules 20 and 25: rotation ends the sessions of that token, and of no other, and counts them.
#[tokio::test]
async fn a_rotation_ends_the_sessions_of_its_token_alone() {
    let desk = Desk::new().await;
    let second = desk.world.issue("acme", "second").await;
    desk.open(&desk.world.token).await;
    desk.open(&desk.world.token).await;
    let other = desk.open(&second).await;
    let receipt = desk
        .world
        .authority
        .rotate(&crate::common::acme(), &crate::common::primary())
        .await;
    assert_eq!(receipt.unwrap().ended.sessions, 2);
    assert_eq!(*desk.ended.lock().unwrap(), ["inner-1", "inner-2"]);
    assert_eq!(desk.post(&second, &other).await.status, 200);
}

/// Rule 21: the sessions of a token that another process rotated end here as well.
#[tokio::test]
async fn sessions_end_when_their_token_is_rotated_elsewhere() {
    let desk = Desk::new().await;
    desk.open(&desk.world.token).await;
    World::over(desk.world.store.clone())
        .rotate("acme", "primary")
        .await;
    let ended = async {
        while desk.ended.lock().unwrap().is_empty() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(8), ended)
        .await
        .expect("the inner session ends");
}

/// Rule 25: a session in use is not idle, and one that is not used is.
#[tokio::test]
async fn an_open_stream_keeps_its_session() {
    let desk = Desk::new().await;
    let token = desk.world.token.clone();
    let [streaming, idle] = [desk.open(&token).await, desk.open(&token).await];
    let stream = call_with(Method::GET, &token, &[&streaming], &[("x-stream", "1")]);
    let stream = desk.app.axum.clone().oneshot(stream).await.unwrap();
    desk.world.clock.advance(IDLE + Duration::from_secs(1));
    assert_eq!(desk.post(&token, &streaming).await.status, 200);
    assert_eq!(desk.post(&token, &idle).await.status, 404);
    drop(stream);
    desk.world.clock.advance(IDLE + Duration::from_secs(1));
    assert_eq!(desk.post(&token, &streaming).await.status, 404);
}

/// Rule 25: DELETE ends the streams of the session at once.
#[tokio::test]
async fn a_deleted_session_ends_its_stream() {
    let desk = Desk::new().await;
    let token = desk.world.token.clone();
    let session = desk.open(&token).await;
    let stream = call_with(Method::GET, &token, &[&session], &[("x-stream", "1")]);
    let stream = desk.app.axum.clone().oneshot(stream).await.unwrap();
    let watched = tokio::spawn(ends(stream.into_body()));
    oneshot(&desk.app, call(Method::DELETE, &token, &[&session])).await;
    assert!(watched.await.unwrap());
    assert_eq!(*desk.ended.lock().unwrap(), ["inner-1"]);
}

/// Rule 22: an open stream ends too when another node rotated and every notification was lost.
#[tokio::test]
async fn a_stream_ends_when_its_token_is_rotated_elsewhere_and_the_store_is_silent() {
    let lease = Freshness::Lease {
        duration: Duration::from_millis(20),
        shared: false,
    };
    let world = World::with_freshness(lease).await;
    let body = open_stream(&streaming(&world), &world.token).await;
    World::over(world.store.clone())
        .rotate("acme", "primary")
        .await;
    world.clock.advance(Duration::from_secs(1));
    assert!(ends(body).await);
}

/// Rule 22: likewise when the store says that it may have missed something.
#[tokio::test]
async fn a_stream_ends_when_its_token_was_rotated_before_a_resync() {
    let world = World::with_freshness(Freshness::Immediate).await;
    let body = open_stream(&streaming(&world), &world.token).await;
    World::over(world.store.clone())
        .rotate("acme", "primary")
        .await;
    world.store.resync();
    assert!(ends(body).await);
}

/// Rule 21: likewise when the store reports nothing at all.
#[tokio::test]
async fn a_stream_ends_when_its_token_is_rotated_behind_an_unwatched_store() {
    let world = World::with_freshness(Freshness::Unwatched).await;
    let body = open_stream(&streaming(&world), &world.token).await;
    World::over(world.store.clone())
        .rotate("acme", "primary")
        .await;
    assert!(ends(body).await);
}

/// A body of `frames` frames of 1 KiB, of known length; after the first it waits to be polled again.
struct Slow {
    frames: u64,
    waits: bool,
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if std::mem::take(&mut self.waits) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.frames == 0 {
            return Poll::Ready(None);
        }
        self.frames -= 1;
        self.waits = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; 1024])))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.frames * 1024)
    }
}

async fn frames_after_a_rotation(frames: u64) -> usize {
    let world = World::new().await;
    let app = Router::new()
        .fallback(async move |_token: VerifiedToken| {
            Response::new(Body::new(Slow {
                frames,
                waits: false,
            }))
        })
        .layer(world.path_layer());
    let response = app.oneshot(bearer(world.token.as_bytes())).await.unwrap();
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    world.rotate("acme", "primary").await;
    let mut after = 0;
    while let Some(frame) = body.frame().await {
        frame.unwrap();
        after += 1;
    }
    after
}

/// Rule 28.
#[tokio::test]
async fn a_body_of_known_length_above_64_kib_is_cut() {
    assert_eq!(frames_after_a_rotation(65).await, 0);
}

/// A named non-promise, written down so that a change of it is noticed: up to 64 KiB of known length go
/// out as they are, however slowly, although rule 20 would have them end.
#[tokio::test]
async fn a_body_of_known_length_up_to_64_kib_is_not_cut() {
    assert_eq!(frames_after_a_rotation(64).await, 63);
}

/// Rule 8: the query that is not ours arrives as it was.
#[tokio::test]
async fn the_rest_of_the_query_arrives_as_it_was() {
    let world = World::new().await;
    let app = Router::new()
        .fallback(async |_token: VerifiedToken, request: Request<Body>| request.uri().to_string())
        .layer(world.path_layer().with_query_token("token"));
    let target = format!("{TARGET}?a=%41&b=+&token={}&c=%zz&d", world.token);
    assert_eq!(
        oneshot(&app, get(&target, &[])).await.text(),
        "/mcp/acme?a=%41&b=+&c=%zz&d"
    );
}
