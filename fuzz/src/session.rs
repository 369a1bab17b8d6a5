//! The session of a request: the one that was opened with this token, or none.

use std::{cell::RefCell, convert::Infallible, future::ready};

use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tower::{Layer as _, Service as _, ServiceExt as _, util::BoxCloneSyncService};
use tower_workspace_token::{
    PathTemplate, SessionLayer, WorkspaceTokenLayer,
    rejection::{Rejection, RejectionKind},
};

use crate::{
    SIGNING,
    oracle::{self, SESSION, encode, mac_key, payload, sign, sign_text},
    world::{Body, Recorder, World, lines, replace},
};

const SESSION_ID: &str = "mcp-session-id";
const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// What the inner service calls the session that the client knows by another name.
const INNER: &str = "inner-session-of-the-service";

type App = BoxCloneSyncService<Request<Body>, Response<()>, Infallible>;

struct Desk {
    world: World,
    recorder: Recorder,
    app: RefCell<App>,
    session: RefCell<String>,
}

/// The first byte says how the session ids are made of the lines, the second the method and the era.
pub fn check(case: &[u8]) {
    // Never dropped: libFuzzer calls once more while the thread ends.
    thread_local!(static DESK: &'static Desk = Box::leak(Box::new(Desk::new())));
    let [kind, call, rest @ ..] = case else {
        return;
    };
    DESK.with(|desk| {
        let live = desk.session.borrow().clone();
        let claims = payload(&live);
        let id = |line: &[u8]| match kind % 3 {
            0 => replace(line, b"{session}", live.as_bytes()),
            1 => {
                let claims = replace(line, b"{claims}", claims.as_bytes());
                sign(SESSION, oracle::header(SESSION), claims).into_bytes()
            }
            _ => {
                let payload = replace(line, b"{payload}", encode(&claims).as_bytes());
                let payload = String::from_utf8_lossy(&payload);
                let header = encode(oracle::header(SESSION));
                sign_text(&mac_key(&SIGNING, SESSION), header, payload).into_bytes()
            }
        };
        let ids: Vec<HeaderValue> = lines(rest, 4)
            .filter(|line| !line.is_empty())
            .filter_map(|line| HeaderValue::from_bytes(id(line).trim_ascii()).ok())
            .collect();
        let method = [Method::POST, Method::GET, Method::DELETE][usize::from(call % 3)].clone();
        desk.compare(&live, method, call & 0x80 != 0, ids);
    });
}

impl Desk {
    fn new() -> Self {
        let (world, recorder) = (World::new(), Recorder::default());
        let service = recorder.service();
        let inner = tower::service_fn(move |request: Request<Body>| {
            let opens = request.headers().contains_key("x-open");
            let mut service = service.clone();
            let answer = service.call(request).into_inner();
            ready(answer.map(|mut answer| {
                if opens {
                    let id = HeaderValue::from_static(INNER);
                    answer.headers_mut().insert(SESSION_ID, id);
                }
                answer
            }))
        });
        let sessions = SessionLayer::new(world.authority.clone());
        let tokens = WorkspaceTokenLayer::new(
            world.authority.clone(),
            PathTemplate::new("/mcp/{workspace}"),
        );
        let app = tokens.layer(sessions.layer(inner));
        let desk = Self {
            world,
            recorder,
            app: RefCell::new(BoxCloneSyncService::new(
                app.map_response(|answer| answer.map(drop)),
            )),
            session: RefCell::default(),
        };
        desk.open();
        desk
    }

    fn open(&self) {
        let mut headers = HeaderMap::new();
        headers.insert("x-open", HeaderValue::from_static("1"));
        let answer = self.send(Method::POST, headers);
        let session = answer.headers()[SESSION_ID].to_str().expect("a token");
        *self.session.borrow_mut() = session.to_owned();
        self.recorder.take().expect("it came through");
    }

    fn send(&self, method: Method, mut headers: HeaderMap) -> Response<()> {
        let token = format!("Bearer {}", self.world.token);
        headers.insert("authorization", token.parse().expect("a field"));
        headers.insert("host", HeaderValue::from_static("a.test"));
        let mut request = Request::new(Body::default());
        *request.method_mut() = method;
        *request.uri_mut() = "/mcp/acme".parse().expect("a target");
        *request.headers_mut() = headers;
        let answered = self.app.borrow_mut().call(request);
        let Ok(answer) = self.world.block_on(answered);
        answer
    }

    fn compare(&self, live: &str, method: Method, is_modern: bool, ids: Vec<HeaderValue>) {
        let mut headers = HeaderMap::new();
        if is_modern {
            headers.insert(PROTOCOL_VERSION, HeaderValue::from_static("2026-07-28"));
        }
        for id in &ids {
            headers.append(SESSION_ID, id.clone());
        }
        let ends = method == Method::DELETE;
        let may_go_without = method == Method::POST;
        let answer = self.send(method, headers);
        let rejection = answer.extensions().get::<Rejection>().map(Rejection::kind);
        let came_through = self.recorder.take();
        let inner = came_through.as_ref().map(|head| {
            let ids: Vec<_> = head.headers.get_all(SESSION_ID).iter().collect();
            assert!(ids.len() < 2, "{ids:?}");
            ids.first().map(|id| id.as_bytes().to_vec())
        });
        match (&ids[..], is_modern) {
            (_, true) => assert_eq!(inner, Some(None), "sessions of an era without"),
            ([], false) if may_go_without => assert_eq!(inner, Some(None)),
            ([], false) => assert_eq!(rejection, Some(&RejectionKind::MissingSession)),
            ([id], false) if id.as_bytes() == live.as_bytes() => {
                assert_eq!(inner, Some(Some(INNER.as_bytes().to_vec())));
                if ends {
                    self.open();
                }
            }
            ([_], false) => assert_eq!(rejection, Some(&RejectionKind::UnknownSession)),
            (_, false) => assert_eq!(rejection, Some(&RejectionKind::RepeatedSession)),
        }
        assert_eq!(inner.is_some(), rejection.is_none());
        let named = answer.headers().get(SESSION_ID);
        assert!(
            named.is_none_or(|id| id == live),
            "the answer names another session"
        );
    }
}
