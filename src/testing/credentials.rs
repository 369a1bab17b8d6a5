//! Every kind of bad credential, and of bad session id, to run an application against.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Request, StatusCode, header::AUTHORIZATION};

#[cfg(feature = "session")]
use super::sessions::HOUR;
use super::{
    TestWorkspace,
    workspace::{bearer, keys},
};
use crate::{
    authority::TokenAuthority,
    clock::{Clock, Timestamp},
    id::TokenName,
    jwt::MAX_TOKEN_LENGTH,
    store::MemoryStore,
};

/// In seconds, and with a second more: no access token lives for longer.
const AN_HOUR_AGO: u64 = 3601;

/// A credential that opens nothing.
#[derive(Clone)]
pub struct BadCredential {
    name: &'static str,
    headers: Vec<HeaderValue>,
    status: StatusCode,
}

impl BadCredential {
    fn new(name: &'static str, token: &str) -> Self {
        Self::header(name, bearer(token))
    }

    fn header(name: &'static str, header: HeaderValue) -> Self {
        Self {
            name,
            headers: vec![header],
            status: StatusCode::UNAUTHORIZED,
        }
    }

    /// Says what is wrong with it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the status that a layer answers with unless it was given other responses: 401, and 400 for a
    /// request with two credentials.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Puts it into a request, in place of the credential that is there.
    pub fn apply<B>(&self, request: &mut Request<B>) {
        let headers = request.headers_mut();
        headers.remove(AUTHORIZATION);
        for header in &self.headers {
            headers.append(AUTHORIZATION, header.clone());
        }
    }
}

impl TestWorkspace {
    /// Returns one credential of each bad kind: of another workspace and of another server, rotated, revoked, expired,
    /// changed, forged, cut short, of the wrong kind, or no token at all. All that are tokens are of this workspace, unless it
    /// is their fault not to be.
    ///
    /// For that it issues tokens in slots and workspaces whose names begin with `bad-`.
    ///
    /// # Panics
    /// If the store fails.
    pub async fn bad_credentials(&self) -> Vec<BadCredential> {
        let good = self.token();
        let workspace = self.id().as_str();
        let rotated = self.fresh_token(workspace, "bad-rotated").await;
        let access_of_rotated = self.access_token(rotated.expose_secret(), 0).await;
        self.fresh_token(workspace, "bad-rotated").await;
        let revoked = self.fresh_token(workspace, "bad-revoked").await;
        let revocation = self.authority().revoke(self.id(), revoked.name()).await;
        revocation.expect("the store takes a revocation");
        let foreign = self.fresh_token("bad-workspace", "primary").await;
        let access_of_foreign = self.access_token(foreign.expose_secret(), 0).await;
        let expired = self.access_token(good, AN_HOUR_AGO).await;
        let elsewhere = TokenAuthority::builder(MemoryStore::new(), keys())
            .build()
            .expect("the operating system gives randomness");
        let elsewhere = elsewhere.issue(self.id(), &TokenName::primary()).await;
        let elsewhere = elsewhere.expect("a new store takes a token");

        let (head, signature) = good.rsplit_once('.').expect("a JWT has three parts");
        let payload = head.split_once('.').expect("a JWT has three parts").1;
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"workspace+jwt"}"#);
        let (first, rest) = signature.split_at(1);
        let other_first = if first == "A" { "B" } else { "A" };
        let bad = vec![
            BadCredential::header(
                "another scheme",
                HeaderValue::from_static("Basic YWNtZTphY21l"),
            ),
            BadCredential::new("an empty token", ""),
            BadCredential::new("a variable that was not set", "${WORKSPACE_TOKEN}"),
            BadCredential::new("garbage", "garbage"),
            BadCredential::new(
                "a token that is too long",
                &"A".repeat(MAX_TOKEN_LENGTH + 1),
            ),
            BadCredential::new("a token with something behind it", &format!("{good}A")),
            BadCredential::new("a token cut short", &good[..good.len() - 1]),
            BadCredential::new("a token with a changed payload", &changed(good, payload)),
            BadCredential::new(
                "a token with a changed signature",
                &format!("{head}.{other_first}{rest}"),
            ),
            BadCredential::new("a token without a signature", &format!("{head}.")),
            BadCredential::new("a token of algorithm none", &format!("{none}.{payload}.")),
            BadCredential::new("a rotated token", rotated.expose_secret()),
            BadCredential::new("a revoked token", revoked.expose_secret()),
            BadCredential::new("a token of another workspace", foreign.expose_secret()),
            BadCredential::new("a token of another server", elsewhere.expose_secret()),
            BadCredential::new("an expired access token", &expired),
            BadCredential::new("an access token of a rotated token", &access_of_rotated),
            BadCredential::new("an access token of another workspace", &access_of_foreign),
            BadCredential {
                name: "two tokens",
                headers: vec![bearer(good), bearer(good)],
                status: StatusCode::BAD_REQUEST,
            },
        ];
        #[cfg(feature = "session")]
        let bad = {
            let session = self.open_session(good, HOUR).await;
            let session = BadCredential::new("a session token", &session);
            [bad, vec![session]].concat()
        };
        bad
    }

    /// Returns an access token of `token` that was made `seconds` ago.
    async fn access_token(&self, token: &str, seconds: u64) -> String {
        let verified = self.verify(token).await;
        let made_at =
            |clock: &dyn Clock| Timestamp::from_secs(clock.now().as_secs().saturating_sub(seconds));
        let issued = self.authority().exchange_at(&verified, made_at).await;
        let issued = issued.expect("a token that is current is exchanged");
        issued.expose_secret().to_owned()
    }
}

/// Changes a character in the middle of a payload to another one of its alphabet.
fn changed(token: &str, payload: &str) -> String {
    let middle = payload.len() / 2;
    let other = if &payload[middle..=middle] == "A" {
        "B"
    } else {
        "A"
    };
    let changed = format!("{}{other}{}", &payload[..middle], &payload[middle + 1..]);
    token.replacen(payload, &changed, 1)
}

impl fmt::Debug for BadCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BadCredential")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
