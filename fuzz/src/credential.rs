//! Which credential a request carries: one, none, or more than can be told; and what of it passes on.

use std::cell::RefCell;

use http::{HeaderValue, Request, Uri, header::AUTHORIZATION};
use tower::{Layer as _, Service as _, util::BoxCloneSyncService};
use tower_workspace_token::{
    PathTemplate, VerifiedToken, WorkspaceTokenLayer,
    rejection::{Rejection, RejectionKind},
};

use crate::{
    reference::{self, BadEscape, Query},
    world::{Body, Recorder, World, lines},
};

type App = BoxCloneSyncService<Request<Body>, http::Response<()>, std::convert::Infallible>;

struct Desk {
    world: World,
    recorder: Recorder,
    app: RefCell<App>,
}

/// What a request carries.
#[derive(Debug)]
enum Carried {
    Nothing,
    One(Vec<u8>),
    Unclear,
}

/// The first line is a query, every other the value of an `Authorization`.
pub fn check(case: &[u8]) {
    // Never dropped: libFuzzer calls once more while the thread ends.
    thread_local!(static DESK: &'static Desk = Box::leak(Box::new(Desk::new())));
    DESK.with(|desk| {
        let case = desk.world.fill(case);
        let mut lines = lines(&case, 6);
        let query = lines.next().unwrap_or_default();
        let target = [b"/mcp/acme?".as_slice(), query].concat();
        let Ok(uri) = Uri::try_from(target) else {
            return;
        };
        let fields: Vec<_> = lines
            .filter_map(|line| HeaderValue::from_bytes(line.trim_ascii()).ok())
            .collect();
        desk.compare(uri, fields);
    });
}

impl Desk {
    fn new() -> Self {
        let (world, recorder) = (World::new(), Recorder::default());
        let layer = WorkspaceTokenLayer::new(
            world.authority.clone(),
            PathTemplate::new("/mcp/{workspace}"),
        );
        let service = layer.with_query_token("token").layer(recorder.service());
        let service = tower::ServiceExt::map_response(service, |answer| answer.map(drop));
        Self {
            world,
            recorder,
            app: RefCell::new(BoxCloneSyncService::new(service)),
        }
    }

    fn compare(&self, uri: Uri, fields: Vec<HeaderValue>) {
        let Some(carried) = carried(uri.query().unwrap_or_default(), &fields) else {
            return;
        };
        let mut request = Request::new(Body::default());
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert("host", HeaderValue::from_static("a.test"));
        for field in fields {
            headers.append(AUTHORIZATION, field);
        }
        let answered = self.app.borrow_mut().call(request);
        let Ok(answer) = self.world.block_on(answered);
        let came_through = self.recorder.take();
        let rejection = answer.extensions().get::<Rejection>().map(Rejection::kind);
        if let Some(head) = came_through {
            assert!(rejection.is_none());
            let Carried::One(credential) = carried else {
                panic!("{carried:?} came through");
            };
            assert!(credential == self.world.token.as_bytes(), "another token");
            assert!(head.extensions.get::<VerifiedToken>().is_some());
            // Another scheme beside a query token passes on, and says that it is a secret.
            for field in head.headers.get_all(AUTHORIZATION) {
                assert!(field.is_sensitive() && reference::bearer(field.as_bytes()).is_none());
            }
            let is_left = head.uri.to_string().contains(&self.world.token);
            assert!(
                !is_left || left_on_purpose(&head.uri),
                "the target holds the token"
            );
            return;
        }
        let rejection = rejection.expect("a request comes through or is turned away");
        match carried {
            Carried::Nothing => assert_eq!(*rejection, RejectionKind::MissingCredential),
            Carried::Unclear => {
                assert!(
                    matches!(rejection, RejectionKind::MalformedCredential(_)),
                    "{rejection:?}"
                );
                assert_eq!(answer.status(), 400);
            }
            Carried::One(credential) if credential.is_empty() => {
                assert_eq!(*rejection, RejectionKind::EmptyCredential);
            }
            Carried::One(credential) => match reference::variable(&credential) {
                Some(name) => {
                    assert_eq!(*rejection, RejectionKind::UnsetVariable(name.to_owned()));
                }
                None => {
                    assert!(credential != self.world.token.as_bytes(), "the live token");
                    assert!(
                        matches!(rejection, RejectionKind::InvalidToken(_)),
                        "{rejection:?}"
                    );
                    assert_eq!(answer.status(), 401);
                }
            },
        }
    }
}

/// States what a request carries; `None` for a query that is too long to be stated here.
fn carried(query: &str, fields: &[HeaderValue]) -> Option<Carried> {
    if query.len() > 8 * 1024 {
        return None;
    }
    let Query::Read { credentials, .. } = reference::query(query) else {
        return Some(Carried::Unclear);
    };
    let in_query = credentials
        .into_iter()
        .collect::<Result<Vec<_>, BadEscape>>();
    let (Ok(mut all), 0..=1) = (in_query, fields.len()) else {
        return Some(Carried::Unclear);
    };
    let in_header = fields
        .iter()
        .filter_map(|field| reference::bearer(field.as_bytes()));
    all.extend(in_header.map(<[u8]>::to_vec));
    Some(match (all.pop(), all.len()) {
        (None, _) => Carried::Nothing,
        (Some(credential), 0) => Carried::One(credential),
        _ => Carried::Unclear,
    })
}

/// Whether the token stands in what is no credential: a parameter of another name is the client's own.
fn left_on_purpose(uri: &Uri) -> bool {
    let query = reference::query(uri.query().unwrap_or_default());
    matches!(query, Query::Read { credentials, .. } if credentials.is_empty())
}
