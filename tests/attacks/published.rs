//! Published vulnerabilities of this class, each as a named test; the number stands in the comment.
//!
//! Those of clients and of the server's own tools are not here: the library has no code for them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, body::Body};
use http::{Method, Request, header};
use tower_workspace_token::{
    SessionLayer, VerifiedToken, WorkspaceTokenLayer,
    layer::{FixedWorkspace, RequestAddress},
};

use crate::{
    common::{
        App, JTI, NOW, TARGET, World, acme, bearer, get,
        oracle::{self, SESSION, WORKSPACE, claims, header, sign},
        protect,
        send::oneshot,
    },
    sessions::{Desk, SESSION_ID, call, call_with},
};

async fn status_of_planted(claims: String) -> u16 {
    let token = sign(WORKSPACE, header(WORKSPACE), claims);
    let app = World::planted(&token).await.by_path();
    oneshot(&app, bearer(token.as_bytes())).await.status
}

/// CVE-2026-116684, CVE-2026-115413: the audience was never checked.
#[tokio::test]
async fn the_audience_is_checked_by_every_resolver() {
    let world = World::new().await;
    let other = world.issue("other", "primary").await;
    let fixed = WorkspaceTokenLayer::new(world.authority.clone(), FixedWorkspace(acme()));
    let closure =
        WorkspaceTokenLayer::new(world.authority.clone(), |_: &RequestAddress<'_>| Ok(acme()));
    let by_host = |token: &str| {
        let mut request = bearer(token.as_bytes());
        request
            .headers_mut()
            .insert(header::HOST, "acme.mcp.test".parse().unwrap());
        request
    };
    for app in [world.by_path(), protect(fixed), protect(closure)] {
        assert_eq!(oneshot(&app, bearer(other.as_bytes())).await.status, 401);
        assert_eq!(
            oneshot(&app, bearer(world.token.as_bytes())).await.status,
            200
        );
    }
    assert_eq!(oneshot(&world.by_host(), by_host(&other)).await.status, 401);
    assert_eq!(
        oneshot(&world.by_host(), by_host(&world.token))
            .await
            .status,
        200
    );
}

/// CVE-2026-77244: any token that was not empty was accepted.
#[tokio::test]
async fn a_token_is_not_accepted_for_being_there() {
    let world = World::new().await;
    let app = world.by_path();
    for token in ["x", "true", "Bearer", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(
            oneshot(&app, bearer(token.as_bytes())).await.status,
            401,
            "{token}"
        );
    }
    assert_eq!(
        oneshot(&app, bearer(world.token.as_bytes())).await.status,
        200
    );
}

/// CVE-2026-11717, CVE-2026-11718: an empty or missing field passed. And, from the product that this
/// one replaces: an empty audience was accepted everywhere.
#[tokio::test]
async fn an_empty_or_missing_claim_is_refused() {
    assert_eq!(status_of_planted(claims()).await, 200);
    let iat = format!("\"iat\":{NOW},");
    let jti = format!("\"jti\":\"{JTI}\",");
    for missing in [
        r#""aud":"acme","#,
        r#""gen":1,"#,
        &iat,
        &jti,
        r#","sub":"primary""#,
    ] {
        assert_eq!(
            status_of_planted(claims().replace(missing, "")).await,
            401,
            "{missing}"
        );
    }
    for value in ["acme", "primary", JTI] {
        assert_eq!(
            status_of_planted(claims().replace(value, "")).await,
            401,
            "{value}"
        );
    }
}

/// CVE-2026-52869: a session was routed by its id, and the principal not checked. And, from the product
/// that this one replaces: a leaked session id acted as its owner.
#[tokio::test]
async fn a_session_id_acts_for_nobody_but_its_owner() {
    let desk = Desk::new().await;
    let second = desk.world.issue("acme", "second").await;
    let session = desk.open(&desk.world.token).await;
    assert_eq!(desk.post(&second, &session).await.status, 404);
    let mut alone = call(Method::POST, &second, &[&session]);
    alone.headers_mut().remove(header::AUTHORIZATION);
    assert_eq!(oneshot(&desk.app, alone).await.status, 401);
    assert_eq!(desk.post(&desk.world.token, &session).await.status, 200);
}

/// CVE-2026-33946: a stream was taken over by replaying a session id.
#[tokio::test]
async fn a_replayed_session_id_opens_no_stream() {
    let desk = Desk::new().await;
    let second = desk.world.issue("acme", "second").await;
    let session = desk.open(&desk.world.token).await;
    let stream = |token: &str| call_with(Method::GET, token, &[&session], &[("x-stream", "1")]);
    assert_eq!(oneshot(&desk.app, stream(&second)).await.status, 404);
    let own = tower::ServiceExt::oneshot(desk.app.axum.clone(), stream(&desk.world.token)).await;
    assert_eq!(own.unwrap().status(), 200);
    let new = desk.world.rotate("acme", "primary").await;
    assert_eq!(
        oneshot(&desk.app, stream(&new)).await.status,
        404,
        "after a rotation"
    );
}

/// CVE-2026-25536: answers leaked across clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_client_gets_the_answers_of_its_own_workspace() {
    let world = World::new().await;
    let other = world.issue("other", "primary").await;
    let app = Router::new()
        .fallback(async |token: VerifiedToken| {
            tokio::task::yield_now().await;
            token.workspace().to_string()
        })
        .layer(world.path_layer());
    let client = |workspace: &'static str, token: String| {
        let app = app.clone();
        tokio::spawn(async move {
            for _ in 0..500 {
                let value = format!("Bearer {token}");
                let target = format!("/mcp/{workspace}");
                let answer =
                    oneshot(&app, get(&target, &[("authorization", value.as_bytes())])).await;
                assert_eq!((answer.status, answer.text().as_str()), (200, workspace));
            }
        })
    };
    let clients = [client("acme", world.token.clone()), client("other", other)];
    for client in clients {
        client.await.unwrap();
    }
}

/// CVE-2026-27896: fields were matched without regard to case; the last of two won.
#[tokio::test]
async fn claims_are_matched_to_the_letter() {
    for (from, to) in [
        ("\"aud\"", "\"Aud\""),
        ("\"aud\"", "\"AUD\""),
        ("\"gen\"", "\"Gen\""),
        ("\"aud\":\"acme\"", "\"aud\":\"other\",\"aud\":\"acme\""),
        ("\"aud\":\"acme\"", "\"aud\":\"acme\",\"Aud\":\"other\""),
        ("\"aud\"", "\"\\u0061ud\",\"aud\""),
    ] {
        let changed = claims().replace(from, to);
        assert_ne!(changed, claims());
        assert_eq!(status_of_planted(changed).await, 401, "{to}");
    }
}

/// CVE-2026-63128: a POST without a credential opened sessions.
#[tokio::test]
async fn a_request_without_a_credential_reaches_no_session() {
    let world = World::new().await;
    let calls = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&calls);
    let app = Router::new()
        .fallback(async move || {
            let call = counted.fetch_add(1, Ordering::SeqCst);
            [(SESSION_ID, format!("inner-{call}"))]
        })
        .layer(SessionLayer::new(world.authority.clone()))
        .layer(world.path_layer());
    for token in ["", "x"] {
        let mut request = call(Method::POST, token, &[]);
        if token.is_empty() {
            request.headers_mut().remove(header::AUTHORIZATION);
        }
        let answer = oneshot(&app, request).await;
        assert_eq!((answer.status, answer.header(SESSION_ID)), (401, None));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    let answer = oneshot(&app, call(Method::POST, &world.token, &[])).await;
    assert!(answer.header(SESSION_ID).is_some(), "the control opens one");
}

/// CVE-2026-42559: DNS rebinding.
#[tokio::test]
async fn a_page_that_was_rebound_to_this_machine_is_refused() {
    let world = World::new().await;
    let send = async |app: &App, host: &str, origin: &str| {
        let request = Request::get(TARGET)
            .header(header::HOST, host)
            .header(header::ORIGIN, origin)
            .header(header::AUTHORIZATION, format!("Bearer {}", world.token));
        oneshot(app, request.body(Body::empty()).unwrap())
            .await
            .status
    };
    let app = world.by_path();
    assert_eq!(
        send(&app, "127.0.0.1:8080", "http://127.0.0.1:8080").await,
        200
    );
    assert_eq!(send(&app, "127.0.0.1:8080", "http://evil.test").await, 403);
    for host in ["evil.test", "127.evil.test", "evil.test:8080"] {
        assert_eq!(
            send(&app, host, &format!("http://{host}")).await,
            403,
            "{host}"
        );
    }
    // By https the page would need a certificate of ours; whoever names the hosts is safe there too.
    let named = protect(world.path_layer().with_host("127.0.0.1"));
    assert_eq!(send(&named, "evil.test", "https://evil.test").await, 400);
    assert_eq!(
        send(&named, "127.0.0.1:8080", "http://127.0.0.1:8080").await,
        200
    );
}

/// CVE-2026-25537: an `exp` of the wrong type counted as none.
#[tokio::test]
async fn an_expiry_of_the_wrong_type_is_no_missing_expiry() {
    let desk = Desk::new().await;
    let token = desk.world.token.clone();
    for exp in [
        "\"9999999999\"",
        "null",
        "9999999999.5",
        "[9999999999]",
        "true",
        "{}",
        "1e10",
    ] {
        let live = oracle::payload(&desk.open(&token).await);
        let (head, tail) = live.split_once(",\"gen\"").unwrap();
        let head = head.split_once("\"exp\"").unwrap().0;
        let forged = format!("{head}\"exp\":{exp},\"gen\"{tail}");
        let session = sign(SESSION, header(SESSION), forged);
        assert_eq!(desk.post(&token, &session).await.status, 404, "{exp}");
    }
}

/// From the product that this one replaces: a workspace token was accepted as a dashboard's cookie, an
/// OAuth state as a login. Here a token opens what it was made for, from the place it belongs in.
#[tokio::test]
async fn neither_a_cookie_nor_an_oauth_state_is_a_credential() {
    let world = World::new().await;
    let token = &world.token;
    let app = world.by_query();
    for cookie in [format!("token={token}"), format!("session={token}")] {
        let answer = oneshot(&app, get(TARGET, &[("cookie", cookie.as_bytes())])).await;
        assert_eq!(answer.status, 401);
    }
    let target = format!("{TARGET}?state={token}&code={token}");
    assert_eq!(oneshot(&app, get(&target, &[])).await.status, 401);
}

/// From the product that this one replaces: a GET minted a credential.
#[tokio::test]
async fn a_get_mints_no_session() {
    let desk = Desk::new().await;
    let answer = oneshot(&desk.app, call(Method::GET, &desk.world.token, &[])).await;
    assert_eq!((answer.status, answer.header(SESSION_ID)), (400, None));
    assert!(
        desk.ended.lock().unwrap().is_empty(),
        "none was opened inside either"
    );
}

/// CVE-2026-64684 is one of clients that follow a redirect: no answer of ours is one.
#[tokio::test]
async fn no_answer_sends_a_credential_elsewhere() {
    let world = World::new().await;
    let app = world.by_query();
    for target in [
        "/mcp/acme",
        "/mcp/acme/",
        "//evil.test/mcp/acme",
        "/mcp/other",
        "/",
    ] {
        let with_token = format!("{target}?token={}", world.token);
        let answer = oneshot(&app, get(&with_token, &[])).await;
        assert!(answer.header("location").is_none() && !(300..400).contains(&answer.status));
    }
}

/// GHSA-33f5-2c5q-wgwj (CVE-2026-63127): a client took the metadata of one resource for that of another, and
/// with it somebody else's authorization server. No such client is built here; what a server can do is to name
/// the metadata of the very resource that was asked for, whoever else a request mentions.
#[tokio::test]
async fn a_challenge_names_the_metadata_of_the_very_resource_and_of_no_other() {
    let world = World::new().await;
    let app = world.by_path();
    let others: [(&str, &[u8]); 6] = [
        ("forwarded", b"host=evil.test;proto=http"),
        ("x-forwarded-host", b"evil.test"),
        ("x-forwarded-proto", b"http"),
        ("x-original-url", b"//evil.test/mcp/other"),
        ("referer", b"https://evil.test/mcp/other"),
        ("authorization", b"Bearer https://evil.test"),
    ];
    for target in [
        "/mcp/acme",
        "/mcp/acme?resource=https://evil.test/mcp/other",
        "http://a.test/mcp/acme",
    ] {
        let answer = oneshot(&app, get(target, &others)).await;
        assert_eq!(answer.status, 401, "{target}");
        let challenge = answer.header("www-authenticate").unwrap();
        let (_, named) = challenge.split_once("resource_metadata=\"").unwrap();
        assert_eq!(
            named, "https://a.test/.well-known/oauth-protected-resource/mcp/acme\"",
            "{target}"
        );
    }
    // What could end the quoted text and begin another parameter is in no challenge.
    let target = "/mcp/acme\",resource_metadata=\"https://evil.test";
    let fixed = WorkspaceTokenLayer::new(world.authority.clone(), FixedWorkspace(acme()));
    let answer = oneshot(&protect(fixed), get(target, &others)).await;
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(!challenge.contains("evil"), "{challenge}");
}
