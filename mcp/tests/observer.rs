//! What an observer hears, and how one session is ended.

mod common;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicIsize, Ordering},
};

use common::*;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;
use tower_workspace_token::session::SessionHandle;
use tower_workspace_token_mcp::{ObservedRequest, Observer, Ongoing, RequestKind};

/// Writes down what it hears.
#[derive(Clone, Debug, Default)]
struct Diary(Arc<Pages>);

#[derive(Debug, Default)]
struct Pages {
    entries: Mutex<Vec<String>>,
    sessions: Mutex<Vec<SessionHandle>>,
    open: AtomicIsize,
    streams: AtomicIsize,
}

impl Diary {
    fn write(&self, entry: String) {
        self.0.entries.lock().unwrap().push(entry);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.entries.lock().unwrap())
    }

    fn open(&self) -> isize {
        self.0.open.load(Ordering::SeqCst)
    }

    fn streams(&self) -> isize {
        self.0.streams.load(Ordering::SeqCst)
    }

    fn session(&self) -> SessionHandle {
        self.0.sessions.lock().unwrap()[0].clone()
    }
}

impl Observer for Diary {
    fn request(&self, request: &ObservedRequest<'_>) -> Option<Arc<dyn Ongoing>> {
        assert_eq!(request.token().unwrap().workspace().as_str(), "acme");
        assert!(!request.headers().contains_key("authorization"));
        let method = request.method().unwrap_or("-");
        let era = if request.is_modern() {
            "modern"
        } else {
            "legacy"
        };
        let client = request.client().map(|client| (client.name, client.version));
        let in_session = request.session().is_some();
        self.write(format!("{method} {era} {in_session} {client:?}"));
        match request.kind() {
            RequestKind::Stream => self.0.streams.fetch_add(1, Ordering::SeqCst),
            _ => self.0.open.fetch_add(1, Ordering::SeqCst),
        };
        Some(Arc::clone(&self.0) as _)
    }

    fn session_opened(&self, session: &SessionHandle, initialize: &ObservedRequest<'_>) {
        assert!(session.is_live());
        let name = initialize.client().unwrap().name;
        self.write(format!("opened by {name} for {}", session.key().name));
        self.0.sessions.lock().unwrap().push(session.clone());
    }

    fn session_ended(&self, inner_id: &str) {
        let is_known = inner_id == self.session().inner_id();
        self.write(format!("ended {is_known}"));
    }
}

impl Ongoing for Pages {
    fn ended(&self, kind: RequestKind) {
        match kind {
            RequestKind::Stream => self.streams.fetch_sub(1, Ordering::SeqCst),
            _ => self.open.fetch_sub(1, Ordering::SeqCst),
        };
    }
}

async fn observed() -> (App, Diary) {
    let diary = Diary::default();
    let observer = diary.clone();
    let app = App::with(move |mcp| mcp.with_observer(observer)).await;
    (app, diary)
}

#[tokio::test]
async fn hears_of_a_session_from_its_beginning_to_its_end() {
    let (app, diary) = observed().await;
    let session = app.initialize().await;
    assert_eq!(
        diary.take(),
        [
            r#"initialize legacy false Some(("test", Some("1")))"#,
            "opened by test for primary",
            "notifications/initialized legacy true None",
        ]
    );
    let stream = app.get(&session).await;
    answer(app.in_session(&session, &call(1, "whoami")).await).await;
    assert_eq!(
        diary.take(),
        ["- legacy true None", "tools/call legacy true None"]
    );
    assert_eq!((diary.open(), diary.streams()), (0, 1));
    drop(stream);
    assert_eq!(diary.streams(), 0);
    let headers = [("mcp-session-id", &*session)];
    app.send(Method::DELETE, &headers, "").await;
    assert_eq!(diary.take(), ["- legacy true None", "ended true"]);
    assert!(!diary.session().is_live());
}

#[tokio::test]
async fn hears_who_a_client_without_sessions_is() {
    let (app, diary) = observed().await;
    answer(app.modern(&call(1, "whoami")).await).await;
    assert_eq!(diary.take(), ["tools/call modern false None"]);
    let client = json!({ "name": "modern", "version": "2" });
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/list"),
    ];
    for (client, heard) in [
        (client, r#"Some(("modern", Some("2")))"#),
        (json!("odd"), "None"),
    ] {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/list",
            "params": { "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": client,
            } },
        });
        app.post(&headers, &message).await;
        assert_eq!(
            diary.take(),
            [format!("tools/list modern false {heard}")],
            "{client}"
        );
    }
    assert_eq!(diary.open(), 0);
}

#[tokio::test]
async fn hears_nothing_of_requests_that_were_not_let_in() {
    let (app, diary) = observed().await;
    app.initialize().await;
    diary.take();
    let response = app.in_session("unknown", &call(1, "whoami")).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    app.rotate().await;
    let response = app.post(&[], &initialize_message("test")).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(diary.take(), ["ended true"]);
}

#[tokio::test]
async fn ending_one_session_ends_its_streams_and_calls_and_leaves_the_others() {
    let (app, diary) = observed().await;
    let ended = app.initialize().await;
    let kept = app.initialize().await;
    let mut stream = app.get(&ended).await.into_body();
    let slow = app.in_session(&ended, &call(1, "slow")).await;
    app.slow_has_begun().await;
    assert!(diary.session().end());
    assert!(!diary.session().end(), "it has ended already");
    // The stream may have told before when to come back.
    let all_of_it = async { while stream.frame().await.is_some() {} };
    tokio::time::timeout(std::time::Duration::from_secs(2), all_of_it)
        .await
        .expect("the stream ends");
    text(slow).await;
    for _ in 0..500 {
        if app.trace.gone.load(Ordering::SeqCst) == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(app.trace.gone.load(Ordering::SeqCst), 1);
    assert!(!app.trace.written.load(Ordering::SeqCst));
    let response = app.in_session(&ended, &call(2, "whoami")).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let answer = answer(app.in_session(&kept, &call(3, "whoami")).await).await;
    assert_eq!(text_of(&answer), "acme");
    assert_eq!((diary.open(), diary.streams()), (0, 0));
}
