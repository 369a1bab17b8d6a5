//! What is asked of each stack.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tower_workspace_token::TokenName;

use crate::{
    client::{Answer, Wire},
    desk::{FIRST, INNER_SESSION, SESSION_ID},
    scene::{Scene, Stack, authorized},
};

const MISSING: &str =
    "This address needs a workspace token. Send it as `Authorization: Bearer <token>`.";
const INVALID: &str = "The workspace token is not valid here. It may have been regenerated: ask for the new one, then connect again.";
const EMPTY: &str = "The workspace token is empty. Set the variable that your client's configuration takes it from, then connect again.";
const UNSET: &str = "The variable WORKSPACE_TOKEN is not set. Export it with your workspace token where the client starts, then connect again.";
const REPEATED: &str = "The request carries more than one credential. Send the workspace token once, in the Authorization header.";
const ENDED: &str = "The workspace token was regenerated. Ask whoever regenerated it for the new one, then connect again.";

/// The current token is let in, at first sight and afterwards, and so is its successor.
pub(crate) async fn accept<S: Stack>() {
    let mut scene = Scene::new::<S>().await;
    for generation in 1..=2 {
        for _ in 0..2 {
            let answer = scene.send(scene.request("whoami")).await;
            let expected = format!("primary of acme, generation {generation}");
            assert_accepted(&answer, scene.wire, &expected);
        }
        scene.test.rotate().await;
    }
    assert_eq!(scene.desk.calls(), 4);
}

/// No credential and every bad one is refused, in the same words whatever is wrong with it, and no handler is called.
pub(crate) async fn reject<S: Stack>() {
    let scene = Scene::new::<S>().await;
    let answer = scene.send(scene.anonymous("whoami")).await;
    assert_rejected(&answer, &scene, None, MISSING);
    for bad in scene.test.bad_credentials().await {
        let mut request = scene.anonymous("whoami");
        bad.apply(&mut request);
        let answer = scene.send(request).await;
        let (code, sentence) = match bad.name() {
            "another scheme" => (None, MISSING),
            "an empty token" => (Some("invalid_token"), EMPTY),
            "a variable that was not set" => (Some("invalid_token"), UNSET),
            "two tokens" => (Some("invalid_request"), REPEATED),
            _ => (Some("invalid_token"), INVALID),
        };
        assert_rejected(&answer, &scene, code, sentence);
    }
    assert_eq!(scene.desk.calls(), 0);
}

/// What is behind the layer sees neither the header nor the query's token, and all the rest.
pub(crate) async fn scrub<S: Stack>() {
    let scene = Scene::with::<S>(|layer| layer.with_query_token("token")).await;
    let mut in_header = scene.request("whoami?a=1&b=2");
    in_header
        .headers_mut()
        .insert("x-kept", HeaderValue::from_static("kept"));
    let in_query = format!("whoami?a=1&token={}&b=2", scene.test.token());
    for request in [in_header, scene.anonymous(&in_query)] {
        assert_eq!(scene.send(request).await.status, StatusCode::OK);
    }
    assert_eq!(scene.desk.calls(), 2);
    let seen = scene.desk.seen();
    assert!(seen.contains("x-kept"), "the headers are seen: {seen}");
    if scene.wire != Wire::Grpc {
        assert!(seen.contains("?a=1&b=2"), "the query is seen: {seen}");
    }
    // The header of a token is public.
    let (_, secret) = scene.test.token().split_once('.').unwrap();
    for piece in secret.as_bytes().windows(12) {
        let piece = std::str::from_utf8(piece).unwrap();
        assert!(!seen.contains(piece), "{seen}");
    }
    assert!(!seen.to_ascii_lowercase().contains("bearer"), "{seen}");
}

/// A rotation answers a running call, and its handler is gone when it returns.
pub(crate) async fn sever_call<S: Stack>() {
    let mut scene = Scene::new::<S>().await;
    let call = scene.begin("hang").await;
    let ended = scene.test.rotate().await;
    assert_eq!((ended.calls, ended.streams, ended.left_behind), (1, 0, 0));
    assert_eq!(scene.desk.open(), 0, "the handler is dropped");
    let answer = call.await.unwrap();
    assert_rejected(&answer, &scene, Some("invalid_token"), ENDED);
    let after = scene.send(scene.request("whoami")).await;
    assert_eq!(after.status, StatusCode::OK);
}

/// A rotation ends an open stream, cleanly, and its source is gone when it returns.
pub(crate) async fn sever_stream<S: Stack>() {
    let mut scene = Scene::new::<S>().await;
    let mut opened = scene.open(scene.request("stream")).await;
    assert!(opened.piece().await.contains(FIRST));
    assert_eq!(scene.desk.open(), 1);
    let ended = scene.test.rotate().await;
    assert_eq!((ended.calls, ended.streams, ended.left_behind), (0, 1, 0));
    assert_eq!(scene.desk.open(), 0, "the stream is dropped");
    let rest = opened.finish().await;
    assert_eq!((rest.status, &*rest.text), (StatusCode::OK, ""));
    match scene.wire {
        Wire::Grpc => assert_grpc_status(&rest.trailers, 16, ENDED),
        Wire::Http1 | Wire::Http2 => assert!(rest.trailers.is_empty(), "{rest:?}"),
    }
}

/// A client gets a session token in place of the application's session, until it deletes it.
pub(crate) async fn session<S: Stack>() {
    let scene = Scene::new::<S>().await;
    let call = |method: Method, session: Option<&HeaderValue>| {
        let mut request = scene.wire.request(method, "acme", "mcp");
        if let Some(session) = session {
            request.headers_mut().insert(SESSION_ID, session.clone());
        }
        authorized(request, scene.test.bearer())
    };
    let opened = scene.send(call(Method::POST, None)).await;
    assert_eq!((opened.status, &*opened.text), (StatusCode::OK, "opened"));
    let session = opened.headers[SESSION_ID].clone();
    assert_eq!(session.to_str().unwrap().matches('.').count(), 2, "a JWT");

    let used = scene.send(call(Method::POST, Some(&session))).await;
    assert_eq!((used.status, &*used.text), (StatusCode::OK, INNER_SESSION));
    assert_eq!(used.headers[SESSION_ID], session);

    let mut alone = call(Method::POST, Some(&session));
    alone.headers_mut().remove(header::AUTHORIZATION);
    let answer = scene.send(alone).await;
    assert_rejected(&answer, &scene, None, MISSING);
    for bad in scene.test.bad_sessions().await {
        let mut request = call(Method::POST, None);
        bad.apply(&mut request);
        let answer = scene.send(request).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{bad:?}");
    }

    let deleted = scene.send(call(Method::DELETE, Some(&session))).await;
    assert_eq!(deleted.status, StatusCode::OK);
    let gone = scene.send(call(Method::POST, Some(&session))).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

/// A handler gets workspace, name and generation of the request's own token, in the stack's own way.
pub(crate) async fn extractor<S: Stack>() {
    let scene = Scene::new::<S>().await;
    let authority = scene.test.authority();
    for (workspace, name) in [("acme", "laptop"), ("other", "primary")] {
        let (id, name) = (workspace.parse().unwrap(), name.parse().unwrap());
        authority.issue(&id, &name).await.unwrap();
        let receipt = authority.rotate(&id, &name).await.unwrap();
        let bearer = format!("Bearer {}", receipt.token.expose_secret());
        let request = scene.wire.request(Method::GET, workspace, "whoami");
        let request = authorized(request, HeaderValue::try_from(bearer).unwrap());
        let expected = format!("{name} of {workspace}, generation 2");
        assert_accepted(&scene.send(request).await, scene.wire, &expected);
    }
    let first = scene.send(scene.request("whoami")).await;
    let expected = format!("{} of acme, generation 1", TokenName::primary());
    assert_accepted(&first, scene.wire, &expected);
}

/// Where tokens are optional, one may be absent, and not wrong.
pub(crate) async fn optional<S: Stack>() {
    let scene = Scene::with::<S>(|layer| layer.with_optional_token()).await;
    let absent = scene.send(scene.anonymous("who")).await;
    assert_accepted(&absent, scene.wire, "nobody");
    let present = scene.send(scene.request("who")).await;
    assert_accepted(&present, scene.wire, "primary of acme, generation 1");
    let calls = scene.desk.calls();
    for bad in scene.test.bad_credentials().await {
        // Not a credential for this layer, and so the same as none.
        if bad.name() == "another scheme" {
            continue;
        }
        let mut request = scene.anonymous("who");
        bad.apply(&mut request);
        let answer = scene.send(request).await;
        match scene.wire {
            Wire::Grpc => assert_ne!(answer.headers["grpc-status"], "0", "{bad:?}"),
            Wire::Http1 | Wire::Http2 => assert_eq!(answer.status, bad.status(), "{bad:?}"),
        }
    }
    assert_eq!(scene.desk.calls(), calls);
}

#[track_caller]
fn assert_accepted(answer: &Answer, wire: Wire, text: &str) {
    assert_eq!((answer.status, &*answer.text), (StatusCode::OK, text));
    if wire == Wire::Grpc {
        assert_eq!(answer.trailers["grpc-status"], "0");
    }
}

/// Compares the whole answer, but for `Date` and what says how its body is framed.
#[track_caller]
fn assert_rejected(answer: &Answer, scene: &Scene, code: Option<&str>, sentence: &str) {
    let is_request_fault = code == Some("invalid_request");
    if scene.wire == Wire::Grpc {
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.is_head_alone, "the head is the trailers: {answer:?}");
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/grpc");
        let status = if is_request_fault { 3 } else { 16 };
        assert_grpc_status(&answer.headers, status, sentence);
        return;
    }
    let (status, json_code) = if is_request_fault {
        (StatusCode::BAD_REQUEST, -32600)
    } else {
        (StatusCode::UNAUTHORIZED, -32001)
    };
    assert_eq!(answer.status, status, "{answer:?}");
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":{json_code},"message":"{sentence}"}}}}"#
    );
    assert_eq!(answer.text, body);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    let challenge = answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
    let begin = match code {
        None => String::from(r#"Bearer realm="workspace""#),
        Some(code) => {
            format!(r#"Bearer realm="workspace", error="{code}", error_description="{sentence}""#)
        }
    };
    let metadata = challenge.strip_prefix(&*begin).expect(challenge);
    // A layer within `nest` sees, and so names, the path without the prefix.
    const METADATA: &str =
        r#", resource_metadata="http://localhost/.well-known/oauth-protected-resource/"#;
    let has_metadata = metadata.strip_prefix(METADATA).is_some_and(|path| {
        let path = path.strip_suffix('"').unwrap();
        path.starts_with("w/acme/") || path.starts_with("acme/")
    });
    assert!(has_metadata || metadata.is_empty(), "{challenge}");
    assert_eq!(
        has_metadata,
        !is_request_fault && sentence != ENDED,
        "{challenge}"
    );
}

#[track_caller]
fn assert_grpc_status(headers: &HeaderMap, status: u8, sentence: &str) {
    assert_eq!(headers["grpc-status"], *status.to_string());
    assert_eq!(headers["grpc-message"], sentence);
}
