//! What `CredentialScrubLayer` takes out of a request, and that everything else stays as it was.

use std::cell::RefCell;

use axum::extract::OriginalUri;
use http::{HeaderMap, Request, Uri, header::AUTHORIZATION};
use tower::{Layer as _, Service as _, util::BoxCloneSyncService};
use tower_workspace_token::CredentialScrubLayer;

use crate::{
    reference::{self, Query},
    world::{Body, Recorder, header, lines},
};

type App = BoxCloneSyncService<Request<Body>, http::Response<Body>, std::convert::Infallible>;

struct Desk {
    recorder: Recorder,
    app: RefCell<App>,
}

/// The first line is a target, every other a header.
pub fn check(case: &[u8]) {
    // Never dropped: libFuzzer calls once more while the thread ends.
    thread_local!(static DESK: &'static Desk = Box::leak(Box::new(Desk::new())));
    let mut lines = lines(case, 9);
    let Ok(uri) = Uri::try_from(lines.next().unwrap_or_default()) else {
        return;
    };
    let headers: HeaderMap = lines.filter_map(header).collect();
    DESK.with(|desk| {
        let clean = desk.scrub(&uri, &headers);
        check_target(&uri, &clean.uri);
        let original = clean.extensions.get::<OriginalUri>();
        assert_eq!(original.expect("it was there").0, clean.uri);
        check_headers(&headers, &clean.headers);
        let twice = desk.scrub(&clean.uri, &clean.headers);
        assert_eq!((&twice.uri, &twice.headers), (&clean.uri, &clean.headers));
    });
}

impl Desk {
    fn new() -> Self {
        let recorder = Recorder::default();
        let layer = CredentialScrubLayer::new().with_query_token("token");
        let app = BoxCloneSyncService::new(layer.layer(recorder.service()));
        Self {
            recorder,
            app: RefCell::new(app),
        }
    }

    fn scrub(&self, uri: &Uri, headers: &HeaderMap) -> http::request::Parts {
        let mut request = Request::new(Body::default());
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        request.extensions_mut().insert(OriginalUri(uri.clone()));
        // It answers at once; what counts is what came through.
        drop(self.app.borrow_mut().call(request));
        self.recorder.take().expect("every request comes through")
    }
}

fn check_target(before: &Uri, after: &Uri) {
    assert_eq!(before.scheme(), after.scheme());
    assert_eq!(before.authority(), after.authority());
    assert_eq!(before.path(), after.path());
    let Some(query) = before.query() else {
        assert_eq!(before, after);
        return;
    };
    let left = after.query().unwrap_or_default();
    if query.len() > 8 * 1024 {
        let is_plain = !query.contains(['%']) && !query.contains("token");
        assert_eq!(left, if is_plain { query } else { "" });
        return;
    }
    match reference::query(query) {
        Query::Unreadable => assert_eq!(left, "", "nobody can tell what it holds"),
        Query::Read { credentials, .. } if credentials.is_empty() => assert_eq!(before, after),
        Query::Read { rest, .. } => {
            // Which of the ampersands between nothing and nothing stay is nobody's business.
            let left: Vec<&str> = left.split('&').filter(|part| !part.is_empty()).collect();
            let rest: Vec<&String> = rest.iter().filter(|part| !part.is_empty()).collect();
            assert_eq!(left, rest);
        }
    }
}

fn check_headers(before: &HeaderMap, after: &HeaderMap) {
    let others = |headers: &HeaderMap| -> Vec<_> {
        let others = headers.iter().filter(|(name, _)| *name != AUTHORIZATION);
        let mut others: Vec<_> = others
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        // Taking a header out may move another; those of one name keep their order.
        others.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        others
    };
    assert_eq!(others(before), others(after));
    let fields: Vec<_> = before.get_all(AUTHORIZATION).iter().collect();
    let left: Vec<_> = after.get_all(AUTHORIZATION).iter().collect();
    match fields[..] {
        [field] if reference::bearer(field.as_bytes()).is_none() => {
            assert_eq!(left, [field]);
            assert!(left[0].is_sensitive());
        }
        _ => assert!(left.is_empty(), "a credential is left"),
    }
}
