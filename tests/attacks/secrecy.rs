//! Rules 8, 16 and 19: nothing behind the layer can see or log the credential, and nothing prints it.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Body,
    extract::{OriginalUri, Request},
    middleware::{self, Next},
    response::Response,
    routing::any,
};
use tower_workspace_token::{CredentialScrubLayer, VerifiedToken, token::PresentedToken};

use crate::{
    common::{World, acme, bearer, get, keys, primary, send::oneshot},
    table::holds_piece_of,
};

type Seen = Arc<Mutex<Vec<String>>>;

/// Writes down everything that a handler or a logging layer could print of a request.
fn note(seen: &Seen, place: &str, request: &Request) {
    let original = request.extensions().get::<OriginalUri>();
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let text = format!(
        "{place}: {request:?} {} {original:?} {headers:?} {:?}",
        request.uri(),
        request.extensions()
    );
    seen.lock().unwrap().push(text);
}

/// An application that writes down what it sees: in a handler of a nested router, in its fallback, and
/// in a layer before the token layer.
fn spied(world: &World, scrub: Option<CredentialScrubLayer>) -> (Router, Seen) {
    let seen = Seen::default();
    let spy = |place: &'static str| {
        let seen = Arc::clone(&seen);
        middleware::from_fn(move |request: Request, next: Next| {
            note(&seen, place, &request);
            next.run(request)
        })
    };
    let in_handler = Arc::clone(&seen);
    let handler = any(async move |token: VerifiedToken, request: Request| {
        note(&in_handler, "handler", &request);
        format!("{token:?}")
    });
    let nested = Router::new()
        .route("/{workspace}", handler.clone())
        .layer(spy("layer of the nested router"));
    let app = Router::new()
        .nest("/mcp", nested)
        .fallback(async || "fallback")
        .layer(spy("layer behind"))
        .layer(world.path_layer().with_query_token("token"));
    let app = match scrub {
        None => app,
        Some(scrub) => app.layer(spy("layer before")).layer(scrub),
    };
    (app, seen)
}

async fn sees_nothing(scrub: Option<CredentialScrubLayer>, places: usize) {
    let world = World::new().await;
    let token = world.token.as_str();
    let requests = [
        bearer(token.as_bytes()),
        get(&format!("/mcp/acme?token={token}"), &[]),
        get(&format!("/mcp/acme?a=1&%74oken={token}&b=2"), &[]),
        get(&format!("http://a.test/mcp/acme?token={token}&c"), &[]),
        // Refused, and so seen by the layer before alone.
        get(&format!("/mcp/acme?token={token}&token={token}"), &[]),
        get(&format!("/mcp/acme?token={token}&%zz"), &[]),
        get(&format!("/mcp/other?token={token}"), &[]),
        get(&format!("/elsewhere?token={token}"), &[]),
    ];
    let mut let_in = 0;
    let (app, seen) = spied(&world, scrub);
    for request in requests {
        let answer = oneshot(&app, request).await;
        let_in += usize::from(answer.status == 200);
        assert!(!holds_piece_of(&answer.bytes(), token.as_bytes()));
    }
    assert_eq!(let_in, 4);
    let seen = seen.lock().unwrap();
    assert!(
        seen.len() >= let_in * places,
        "{} places were seen",
        seen.len()
    );
    for text in seen.iter() {
        assert!(!holds_piece_of(text.as_bytes(), token.as_bytes()), "{text}");
    }
    assert!(
        seen.iter().any(|text| text.contains("a=1&b=2")),
        "the rest of the query stays"
    );
}

#[tokio::test]
async fn nothing_behind_the_layer_sees_the_credential_without_a_scrub_layer() {
    sees_nothing(None, 3).await;
}

#[tokio::test]
async fn nothing_behind_the_scrub_layer_sees_the_credential() {
    sees_nothing(
        Some(CredentialScrubLayer::new().with_query_token("token")),
        4,
    )
    .await;
}

/// A scrub layer that knows of the header alone, as one forgets to tell it.
#[tokio::test]
async fn nothing_behind_the_token_layer_sees_what_the_scrub_layer_did_not_know_of() {
    let world = World::new().await;
    let token = world.token.as_str();
    let seen = Seen::default();
    let in_handler = Arc::clone(&seen);
    let app = Router::new()
        .fallback(async move |request: Request| note(&in_handler, "handler", &request))
        .layer(world.path_layer().with_query_token("token"))
        .layer(CredentialScrubLayer::new());
    let answer = oneshot(&app, get(&format!("/mcp/acme?token={token}"), &[])).await;
    assert_eq!(answer.status, 200);
    assert!(!holds_piece_of(
        seen.lock().unwrap()[0].as_bytes(),
        token.as_bytes()
    ));
    let both = get(
        &format!("/mcp/acme?token={token}"),
        &[("authorization", format!("Bearer {token}").as_bytes())],
    );
    assert_eq!(oneshot(&app, both).await.status, 400);
}

/// Rule 9: taking the parameter out, so that no log sees it, is not switching it on.
#[tokio::test]
async fn a_scrub_layer_switches_no_query_token_on() {
    let world = World::new().await;
    let token = world.token.as_str();
    let scrub = CredentialScrubLayer::new().with_query_token("token");
    let app = world.by_path().axum.layer(scrub);
    let in_query = get(&format!("/mcp/acme?token={token}"), &[]);
    assert_eq!(oneshot(&app, in_query).await.status, 401);
    assert_eq!(oneshot(&app, bearer(token.as_bytes())).await.status, 200);
}

/// What is not ours to take out is marked, so that no log prints it.
#[tokio::test]
async fn a_credential_of_another_scheme_is_marked_sensitive() {
    let world = World::new().await;
    let marked: Arc<Mutex<Vec<bool>>> = Arc::default();
    let seen = Arc::clone(&marked);
    let app = Router::new()
        .fallback(async move |request: Request| {
            let value = &request.headers()["authorization"];
            seen.lock().unwrap().push(value.is_sensitive());
            format!("{:?}", request.headers())
        })
        .layer(world.path_layer().with_optional_token());
    let answer = oneshot(
        &app,
        get(
            "/mcp/acme",
            &[("authorization", b"Basic dXNlcjpwYXNzd29yZA==")],
        ),
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(*marked.lock().unwrap(), [true]);
    assert!(!answer.text().contains("dXNlcjpwYXNz"));
}

/// Behind an optional token, what begins as a bearer token and is none is refused, not passed on.
#[tokio::test]
async fn an_optional_token_is_absent_or_right_and_never_passed_on() {
    let world = World::new().await;
    let token = world.token.as_str();
    let app = Router::new()
        .fallback(async |token: Option<VerifiedToken>, request: Request| {
            assert!(!request.headers().contains_key("authorization"));
            if token.is_some() {
                "verified"
            } else {
                "anonymous"
            }
        })
        .layer(world.path_layer().with_optional_token());
    let answer = async |value: &str| {
        let headers: &[(&str, &[u8])] = &[("authorization", value.as_bytes())];
        let answer = oneshot(
            &app,
            get("/mcp/acme", if value.is_empty() { &[] } else { headers }),
        )
        .await;
        (answer.status, answer.text())
    };
    assert_eq!(answer("").await, (200, String::from("anonymous")));
    assert_eq!(
        answer(&format!("Bearer {token}")).await,
        (200, String::from("verified"))
    );
    for value in [
        "Bearer",
        "Bearer x",
        &format!("Bearer\t{token}"),
        &format!("Bearer,{token}"),
        &format!("bearer {token}x"),
    ] {
        assert_eq!(answer(value).await.0, 401, "{value:?}");
    }
}

/// An answer to a URL that held a credential is neither kept nor referred to, whether it is let in or not.
#[tokio::test]
async fn answers_to_a_query_token_are_not_stored_and_not_referred_to() {
    let world = World::new().await;
    let app = world.by_query();
    let token = world.token.as_str();
    for query in [
        format!("token={token}"),
        String::from("token=x"),
        format!("token={token}&token={token}"),
        format!("token={token}%zz"),
        format!("token={token}&%ff=1"),
        String::from("token="),
    ] {
        let answer = oneshot(&app, get(&format!("/mcp/acme?{query}"), &[])).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{query}");
        assert_eq!(
            answer.header("referrer-policy"),
            Some("no-referrer"),
            "{query}"
        );
    }
    let answer = oneshot(&app, bearer(token.as_bytes())).await;
    assert_eq!(answer.header("referrer-policy"), None, "the control");
}

/// Rule 16: no type that holds a secret prints it.
#[tokio::test]
async fn nothing_that_can_be_printed_prints_a_secret() {
    let world = World::new().await;
    let issued = world
        .authority
        .issue(&acme(), &"second".parse().unwrap())
        .await
        .unwrap();
    let secret = issued.expose_secret().to_owned();
    let presented = PresentedToken::new(secret.as_bytes());
    let verified = world.authority.verify(&acme(), presented).await.unwrap();
    let rejection = world
        .authority
        .verify(&"other".parse().unwrap(), presented)
        .await
        .unwrap_err();
    let layer = world.path_layer().with_query_token("token");
    let row = world.row("acme", "second").await;
    let receipt = world.authority.rotate(&acme(), &primary()).await.unwrap();
    let printed = format!(
        "{issued:?} {presented:?} {verified:?} {rejection:?} {rejection} {:?} {layer:?} {row:?} {receipt:?} {:?} {:#?}",
        world.authority,
        verified.lease(),
        keys(),
    );
    for token in [&secret, receipt.token.expose_secret(), &world.token] {
        assert!(
            !holds_piece_of(printed.as_bytes(), token.as_bytes()),
            "{printed}"
        );
    }
    for key in [crate::common::SIGNING, crate::common::SEALING] {
        assert!(!printed.contains(&format!("{:?}", &key[..4]).replace(['[', ']'], "")));
    }
}

/// The rejection that goes into the extensions of a response, for logs.
#[tokio::test]
async fn the_rejection_for_the_log_says_why_and_nothing_of_the_credential() {
    let world = World::new().await;
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&seen);
    let app =
        world
            .by_query()
            .axum
            .layer(middleware::map_response(move |response: Response<Body>| {
                let log = Arc::clone(&log);
                async move {
                    log.lock().unwrap().push(format!(
                        "{:?}",
                        response
                            .extensions()
                            .get::<tower_workspace_token::rejection::Rejection>()
                    ));
                    response
                }
            }));
    let token = world.token.as_str();
    for credential in [
        format!("{token}x"),
        String::from("a-very-secret-password-of-another-site"),
    ] {
        oneshot(&app, bearer(credential.as_bytes())).await;
        oneshot(&app, get(&format!("/mcp/acme?token={credential}"), &[])).await;
        for text in seen.lock().unwrap().drain(..) {
            assert!(text.contains("InvalidToken(NotOurs)"), "{text}");
            assert!(
                !holds_piece_of(text.as_bytes(), credential.as_bytes()),
                "{text}"
            );
        }
    }
}
