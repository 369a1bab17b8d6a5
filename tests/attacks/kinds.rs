//! One kind of token in the place of another, and things that are no tokens at all.

use crate::{
    common::{
        JTI, NOW, SIGNING, World, bearer, get,
        oracle::{self, SESSION, WORKSPACE, claims, encode, header, mac_key, sign},
    },
    headers::planted,
    table::{Attempt, Case, Expected},
};

pub(crate) async fn cases() -> Vec<Case> {
    let family = "kinds";
    let session_claims = format!(
        r#"{{"aud":"acme","exp":{},"gen":1,"iat":{NOW},"sid":"{JTI}","tid":"{}"}}"#,
        NOW + 3600,
        oracle::token_id(JTI),
    );
    let session_key = mac_key(&SIGNING, SESSION);
    let access = "workspace-access+jwt";
    let tokens = [
        (
            "a session token as the workspace token",
            sign(SESSION, header(SESSION), &session_claims),
        ),
        (
            "workspace claims as a session token",
            sign(SESSION, header(SESSION), claims()),
        ),
        (
            "session claims as a workspace token",
            sign(WORKSPACE, header(WORKSPACE), &session_claims),
        ),
        (
            "a session's header over a workspace MAC",
            sign(WORKSPACE, header(SESSION), claims()),
        ),
        (
            "a workspace header over a session MAC",
            oracle::sign_text(&session_key, encode(header(WORKSPACE)), encode(claims())),
        ),
        (
            "an access token as the workspace token",
            sign(access, header(access), claims()),
        ),
        (
            "a dashboard login as the workspace token",
            sign("login", header("login"), claims()),
        ),
        (
            "an OAuth state as the workspace token",
            String::from("oauth_state=af0ifjsldkj"),
        ),
        (
            "the public token id as the token",
            oracle::token_id(JTI).to_string(),
        ),
        ("the secret jti alone as the token", JTI.to_owned()),
        ("the claims alone as the token", encode(claims())),
    ];
    let mut cases = Vec::new();
    for (name, token) in tokens {
        cases.push(planted(family, name, token).await);
    }
    let world = World::new().await;
    let app = world.by_path();
    let token = world.token.as_str();
    let elsewhere = [
        ("the token in a cookie", "cookie", format!("token={token}")),
        ("the token in X-Api-Key", "x-api-key", token.to_owned()),
        (
            "the token in Proxy-Authorization",
            "proxy-authorization",
            format!("Bearer {token}"),
        ),
        (
            "the token in a header that an underscore tells apart",
            "authorization_",
            format!("Bearer {token}"),
        ),
        (
            "the token as the session id",
            "mcp-session-id",
            token.to_owned(),
        ),
        (
            "the token as a WebSocket protocol",
            "sec-websocket-protocol",
            format!("bearer, {token}"),
        ),
    ];
    for (name, place, value) in elsewhere {
        cases.push(Case {
            family,
            name: name.to_owned(),
            attack: Attempt::request(
                &app,
                get("/mcp/acme", &[(place, value.as_bytes())]),
                &[token],
            ),
            expected: Expected::NoCredential,
            control: Attempt::request(&app, bearer(token.as_bytes()), &[token]),
        });
    }
    cases
}
