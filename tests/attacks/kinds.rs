//! One kind of token in the place of another, and things that are no tokens at all.

use crate::{
    common::{
        JTI, NOW, SIGNING, World, bearer, get,
        oracle::{self, SESSION, WORKSPACE, claims, encode, mac_key},
    },
    headers::Planter,
    table::{Attempt, Case, Expected},
};

pub(crate) async fn cases() -> Vec<Case> {
    let family = "kinds";
    let session_claims = format!(
        r#"{{"aud":"acme","exp":{},"gen":1,"iat":{NOW},"sid":"{JTI}","tid":"{}"}}"#,
        NOW + 3600,
        oracle::token_id(JTI),
    );
    let tokens = [
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
    let planter = Planter::new().await;
    let mut cases = Vec::new();
    for (name, token) in tokens {
        cases.push(planter.case(family, name, token).await);
    }
    let own = claims();
    for (name, header, key, payload) in matrix((WORKSPACE, &own), (SESSION, &session_claims)) {
        let key = mac_key(&SIGNING, key);
        let token = oracle::sign_text(&key, encode(oracle::header(header)), encode(payload));
        cases.push(planter.case(family, &name, token).await);
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

/// Everything but what is right of header, MAC key and claims: the kinds of header and key, and the payload.
///
/// Each of the two kinds comes with claims that are right for it.
pub(crate) fn matrix<'a>(
    (right, own): (&'a str, &'a str),
    (other, foreign): (&'a str, &'a str),
) -> Vec<(String, &'a str, &'a str, &'a str)> {
    const LOGIN: &str = r#"{"exp":4102444800,"sub":"ada"}"#;
    const KINDS: [&str; 3] = ["workspace-access+jwt", "mcp-session+jwt", "workspace+jwt"];
    // The one that is neither.
    let third = KINDS
        .into_iter()
        .find(|kind| ![right, other].contains(kind));
    let typs = [right, other, third.unwrap(), "login", "JWT"];
    let payloads = [
        ("its own claims", own),
        ("claims of the other kind", foreign),
        ("a login's claims", LOGIN),
    ];
    let mut matrix = Vec::new();
    for header in typs {
        for key in typs {
            for (what, payload) in payloads {
                if (header, key, payload) != (right, right, own) {
                    let name = format!("{what} under the header of {header} and the MAC of {key}");
                    matrix.push((name, header, key, payload));
                }
            }
        }
    }
    matrix
}
