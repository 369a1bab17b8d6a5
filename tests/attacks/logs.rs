//! Rule 19 for the log: a subscriber that writes down every field of every span and event, at TRACE.

use std::{
    fmt::{Debug, Write as _},
    panic,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{Router, extract::Request};
use tower_workspace_token::VerifiedToken;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::set_default,
};

use crate::{
    common::{
        World, bearer, get,
        send::{oneshot, wire},
    },
    sessions::Desk,
    table::holds_piece_of,
};

#[derive(Clone, Default)]
struct WriteDown {
    lines: Arc<Mutex<Vec<String>>>,
    spans: Arc<AtomicU64>,
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl WriteDown {
    fn line(&self, place: &str, visit: impl FnOnce(&mut Line)) {
        let mut line = Line(place.to_owned());
        visit(&mut line);
        self.lines.lock().unwrap().push(line.0);
    }
}

impl Subscriber for WriteDown {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.line(span.metadata().name(), |line| span.record(line));
        Id::from_u64(self.spans.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn record(&self, _span: &Id, values: &Record<'_>) {
        self.line("record", |line| values.record(line));
    }

    fn event(&self, event: &Event<'_>) {
        self.line(event.metadata().target(), |line| event.record(line));
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

/// What a handler that panics with all it has in hand says, to the hook and to the log.
#[tokio::test]
async fn no_panic_holds_a_piece_of_a_token() {
    const MARK: &str = "a handler panics on purpose";
    let said: Arc<Mutex<Vec<String>>> = Arc::default();
    let (heard, otherwise) = (Arc::clone(&said), panic::take_hook());
    panic::set_hook(Box::new(move |panic| match panic.to_string() {
        text if text.contains(MARK) => heard.lock().unwrap().push(text),
        _ => otherwise(panic),
    }));
    let world = World::new().await;
    let handler = async |token: VerifiedToken, request: Request| -> String {
        panic!("{MARK}: {token:?} {request:?} {}", request.uri())
    };
    let app = Router::new()
        .fallback(handler)
        .layer(world.path_layer().with_query_token("token"));
    for request in [
        bearer(world.token.as_bytes()),
        get(&format!("/mcp/acme?a=1&token={}", world.token), &[]),
    ] {
        let app = app.clone();
        let ended = tokio::spawn(async move { oneshot(&app, request).await }).await;
        assert!(ended.unwrap_err().is_panic());
    }
    let said = said.lock().unwrap();
    assert_eq!(said.len(), 2);
    assert!(said[1].contains("a=1"), "the control: {said:?}");
    for text in said.iter() {
        assert!(
            !holds_piece_of(text.as_bytes(), world.token.as_bytes()),
            "{text}"
        );
    }
}

#[tokio::test]
async fn no_log_line_at_trace_holds_a_piece_of_a_token() {
    let log = WriteDown::default();
    let _guard = set_default(log.clone());
    let world = World::new().await;
    let second = world.issue("acme", "second").await;
    let app = world.by_query();
    for token in [&world.token, &second] {
        oneshot(&app, bearer(token.as_bytes())).await;
        oneshot(&app, bearer(format!("{token}x").as_bytes())).await;
        oneshot(&app, get(&format!("/mcp/acme?token={token}"), &[])).await;
        oneshot(
            &app,
            get(&format!("/mcp/acme?token={token}&token={token}"), &[]),
        )
        .await;
        oneshot(&app, get(&format!("/mcp/other?token={token}"), &[])).await;
        oneshot(&app, get(&format!("/mcp/acme?token={token}&%zz"), &[])).await;
    }
    let request = format!(
        "GET /mcp/acme HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer {second}\r\nConnection: close\r\n\r\n"
    );
    wire(&app, request.as_bytes()).await;
    let desk = Desk::over(world.clone(), |layer| layer);
    let session = desk.open(&world.token).await;
    desk.post(&second, &session).await;
    let new = world.rotate("acme", "primary").await;
    oneshot(&app, bearer(world.token.as_bytes())).await;
    world.store.set_gone(true);
    let fresh = World::over(world.store.clone()).by_path();
    assert_eq!(oneshot(&fresh, bearer(second.as_bytes())).await.status, 503);
    let lines = log.lines.lock().unwrap();
    assert!(
        lines.iter().any(|line| line.contains("NotOurs")),
        "the control: rejections are logged: {lines:?}"
    );
    for line in lines.iter() {
        for secret in [&world.token, &second, &session, &new] {
            assert!(
                !holds_piece_of(line.as_bytes(), secret.as_bytes()),
                "{line}"
            );
        }
    }
}
