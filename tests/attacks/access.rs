//! Access tokens: forged, expired, of an ended parent, and where they do not belong.
//!
//! The parent is planted, so that each forgery has the right MAC and, where it can have one, the right proof: nothing but
//! the check that the case is named after is there to refuse it.

use std::time::Duration;

use axum::body::Body;
use http::Request;
use tower_workspace_token::{
    VerifiedToken, clock::Clock as _, store::Freshness, token::PresentedToken,
};

use crate::{
    claims::moment,
    common::{
        App, HOST, JTI, NOW, SIGNING, TARGET, World, acme, bearer, get,
        oracle::{
            self, ACCESS, SESSION, WORKSPACE, access_claims, claims, encode, header, mac_key,
            prove, sign,
        },
        primary,
    },
    headers::add_new,
    json::Object,
    kinds,
    table::{Attempt, Case, Expected},
};

const FAMILY: &str = "access tokens";

/// The longest life that can be chosen, in seconds.
const HOUR: u64 = 3600;

pub(crate) async fn cases() -> Vec<Case> {
    let forge = Forge::new().await;
    let mut cases = Vec::new();
    for (name, json) in forge.wrong_claims() {
        let token = sign(ACCESS, header(ACCESS), prove(&forge.parent, &json));
        cases.push(forge.case(&name, &token));
    }
    for (name, token) in forge.wrong_proofs() {
        cases.push(forge.case(name, &token));
    }
    let good = access_claims(&forge.parent, NOW, NOW + 900);
    let own = String::from_utf8(good).unwrap();
    for (name, header, key, payload) in kinds::matrix((ACCESS, &own), (WORKSPACE, &claims())) {
        let key = mac_key(&SIGNING, key);
        let token = oracle::sign_text(&key, encode(oracle::header(header)), encode(payload));
        // The parent itself is among them.
        if token != forge.parent {
            cases.push(forge.case(&name, &token));
        }
    }
    let session = format!(
        r#"{{"aud":"acme","exp":{},"gen":1,"iat":{NOW},"sid":"{JTI}","tid":"{}"}}"#,
        NOW + 900,
        oracle::token_id(JTI),
    );
    let token = sign(SESSION, header(SESSION), session);
    cases.push(forge.case("a session token as Bearer", &token));
    cases.extend(ended().await);
    cases.extend(misplaced().await);
    cases
}

/// Mints what the library would not, for a parent that it holds.
struct Forge {
    app: App,
    parent: String,
    right: String,
}

impl Forge {
    async fn new() -> Self {
        let parent = sign(WORKSPACE, header(WORKSPACE), claims());
        let right = sign(
            ACCESS,
            header(ACCESS),
            access_claims(&parent, NOW, NOW + 900),
        );
        Self {
            app: World::planted(&parent).await.by_path(),
            parent,
            right,
        }
    }

    fn case(&self, name: &str, token: &str) -> Case {
        assert_ne!(token, self.right, "{name} changes nothing");
        Case {
            family: FAMILY,
            name: name.to_owned(),
            attack: Attempt::request(&self.app, bearer(token.as_bytes()), &[token]),
            expected: Expected::InvalidToken,
            control: Attempt::request(&self.app, bearer(self.right.as_bytes()), &[&self.right]),
        }
    }

    fn wrong_claims(&self) -> Vec<(String, Vec<u8>)> {
        let (now, exp) = (NOW.to_string(), (NOW + 900).to_string());
        let tid = format!("\"{}\"", oracle::token_id(JTI));
        let unproven = format!("\"{}\"", oracle::UNPROVEN);
        let object = Object::new(&[
            ("aud", "\"acme\""),
            ("exp", &exp),
            ("gen", "1"),
            ("iat", &now),
            ("prf", &unproven),
            ("sub", "\"primary\""),
            ("tid", &tid),
        ]);
        let good = object.to_json();
        let exp_is =
            |time: u64| good.replace(&format!("\"exp\":{exp}"), &format!("\"exp\":{time}"));
        let iat = format!("\"iat\":{NOW}");
        let iat_is = |time: u64| good.replace(&iat, &format!("\"iat\":{time}"));
        let others = [
            ("an exp that is now", exp_is(NOW)),
            ("an exp that was a second ago", exp_is(NOW - 1)),
            ("an exp of 0", exp_is(0)),
            ("an exp more than an hour after iat", exp_is(NOW + HOUR + 1)),
            (
                "an iat more than an hour before exp",
                iat_is(NOW + 900 - HOUR - 1),
            ),
            (
                "an exp that is its iat",
                exp_is(NOW + 30).replace(&iat, &format!("\"iat\":{}", NOW + 30)),
            ),
            ("an iat 61 s in the future", iat_is(NOW + 61)),
            ("another workspace", good.replace("acme", "other")),
            ("another slot", good.replace("primary", "second")),
            (
                "the next generation",
                good.replace("\"gen\":1", "\"gen\":2"),
            ),
            (
                "the id of another token",
                good.replace(&tid, &format!("\"{}\"", oracle::token_id("x"))),
            ),
        ];
        let mut cases = Vec::from(others.map(|(name, json)| (name.to_owned(), json.into_bytes())));
        // What it proves is computed over whatever the claims are, so any times within the bounds are right ones.
        let is_right = |name: &str, value: &str| match (name, moment(value)) {
            ("exp", Some(time)) => time > NOW && time <= NOW + HOUR,
            ("iat", Some(time)) => time <= NOW + 60 && time + HOUR >= NOW + 900,
            _ => false,
        };
        add_new(&mut cases, object.wrong(is_right));
        cases
    }

    /// All is right and the MAC as well: what is missing is what only the parent gives away.
    fn wrong_proofs(&self) -> Vec<(&'static str, String)> {
        let good = String::from_utf8(access_claims(&self.parent, NOW, NOW + 900)).unwrap();
        let proof = oracle::member(&good, "prf");
        let later = access_claims(&self.parent, NOW, NOW + 901);
        let later = String::from_utf8(later).unwrap();
        let cut = self.parent.rsplit_once('.').unwrap().0;
        let with = |other: &str| sign(ACCESS, header(ACCESS), good.replace(&proof, other));
        let of = |parent: &str| {
            let claims = access_claims(parent, NOW, NOW + 900);
            sign(ACCESS, header(ACCESS), claims)
        };
        vec![
            ("no proof but a right length", with(oracle::UNPROVEN)),
            ("the secret of the parent as the proof", with(JTI)),
            (
                "the proof of a later expiry",
                with(&oracle::member(&later, "prf")),
            ),
            ("a proof by the parent without its MAC", of(cut)),
            ("a proof by the signing key", {
                let key = mac_key(&SIGNING, ACCESS);
                let written = good.replace(&proof, "");
                with(&encode(&oracle::mac(&key, written.as_bytes())[..16]))
            }),
            ("a proof in lower case", with(&proof.to_lowercase())),
        ]
    }
}

/// Access tokens that the library itself has given out, and that are good for nothing any more.
async fn ended() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, end) in [
        ("expired", End::Expired),
        ("of a token that was rotated", End::Rotated),
        ("of a token that was revoked", End::Revoked),
    ] {
        for is_known in [false, true] {
            let world = World::new().await;
            let access = exchange(&world).await;
            if is_known {
                let presented = PresentedToken::new(access.as_bytes());
                let verified = world.authority.verify_access(&acme(), presented).await;
                verified.unwrap();
            }
            match end {
                End::Expired => world.clock.advance(Duration::from_secs(900)),
                End::Revoked => {
                    let revoked = world.authority.revoke(&acme(), &primary()).await;
                    revoked.unwrap();
                }
                End::Rotated => drop(world.rotate("acme", "primary").await),
            }
            let control = match end {
                End::Revoked => world.issue("acme", "second").await,
                End::Expired => exchange(&world).await,
                End::Rotated => world.issue("acme", "second").await,
            };
            let seen = if is_known { "seen" } else { "never seen" };
            let app = world.by_path();
            cases.push(Case {
                family: FAMILY,
                name: format!("one {name}, {seen} before"),
                attack: Attempt::request(&app, bearer(access.as_bytes()), &[&access]),
                expected: Expected::InvalidToken,
                control: Attempt::request(&app, bearer(control.as_bytes()), &[&control]),
            });
        }
    }
    let world = World::new().await;
    world.issue("other", "primary").await;
    let access = exchange(&world).await;
    let app = world.by_path();
    let elsewhere = Request::get("/mcp/other").header("host", HOST);
    let elsewhere = elsewhere.header("authorization", format!("Bearer {access}"));
    cases.push(Case {
        family: FAMILY,
        name: String::from("one at another workspace"),
        attack: Attempt::request(&app, elsewhere.body(Body::empty()).unwrap(), &[&access]),
        expected: Expected::InvalidToken,
        control: Attempt::request(&app, bearer(access.as_bytes()), &[&access]),
    });
    cases
}

#[derive(Clone, Copy)]
enum End {
    Expired,
    Revoked,
    Rotated,
}

async fn misplaced() -> Vec<Case> {
    let world = World::new().await;
    let access = exchange(&world).await;
    let (by_query, by_path) = (world.by_query(), world.by_path());
    let in_query = |token: &str| get(&format!("{TARGET}?token={token}"), &[]);
    let case = |name: &str, attack, expected, control| Case {
        family: FAMILY,
        name: name.to_owned(),
        attack,
        expected,
        control,
    };
    let credentials: &[&str] = &[&access, &world.token];
    let right = || Attempt::request(&by_query, bearer(access.as_bytes()), credentials);
    let two = |one: &str, other: &str| {
        let value = format!("Bearer {one}");
        let target = format!("{TARGET}?token={other}");
        get(&target, &[("authorization", value.as_bytes())])
    };
    vec![
        case(
            "one in the query, where a workspace token is let in",
            Attempt::request(&by_query, in_query(&access), credentials),
            Expected::InvalidToken,
            Attempt::request(&by_query, in_query(&world.token), credentials),
        ),
        case(
            "one in the query, where nothing is let in by it",
            Attempt::request(&by_path, in_query(&access), credentials),
            Expected::NoCredential,
            Attempt::request(&by_path, bearer(access.as_bytes()), credentials),
        ),
        case(
            "one beside the workspace token",
            Attempt::request(&by_query, two(&access, &world.token), credentials),
            Expected::BadPlace,
            right(),
        ),
        case(
            "the workspace token beside one in the query",
            Attempt::request(&by_query, two(&world.token, &access), credentials),
            Expected::BadPlace,
            right(),
        ),
    ]
}

async fn exchange(world: &World) -> String {
    let presented = PresentedToken::new(world.token.as_bytes());
    let verified: VerifiedToken = world.authority.verify(&acme(), presented).await.unwrap();
    let issued = world.authority.exchange(&verified).await.unwrap();
    issued.expose_secret().to_owned()
}

/// What the library mints is what another implementation computes from the documented layout.
#[tokio::test]
async fn an_access_token_is_byte_for_byte_the_documented_one() {
    let parent = sign(WORKSPACE, header(WORKSPACE), claims());
    let world = World::planted(&parent).await;
    let right = sign(
        ACCESS,
        header(ACCESS),
        access_claims(&parent, NOW, NOW + 900),
    );
    assert_eq!(exchange(&world).await, right);
}

/// The vector of `docs/token-format.md`: of the MCP token of its own vector.
#[test]
fn the_documented_vector_is_reproduced() {
    let parent = include_str!("../vectors/workspace-token-v1.jwt").trim();
    let vector = include_str!("../vectors/access-token-v1.jwt").trim();
    let claims = access_claims(parent, 1_700_000_000, 1_700_000_900);
    let kid = oracle::kid(&[1; 32]);
    let header = format!(r#"{{"alg":"HS256","kid":"{kid}","typ":"{ACCESS}"}}"#);
    let key = mac_key(&[1; 32], ACCESS);
    assert_eq!(
        oracle::sign_text(&key, encode(header), encode(claims)),
        vector
    );
}

/// A store that is gone, or whose row does not open, answers for no access token that was never seen.
#[tokio::test]
async fn an_access_token_needs_the_store_when_it_is_new() {
    let world = World::new().await;
    let access = exchange(&world).await;
    let other = World::over(world.store.clone());
    other.store.set_gone(true);
    let presented = PresentedToken::new(access.as_bytes());
    let rejection = other.authority.verify_access(&acme(), presented).await;
    assert_eq!(rejection.unwrap_err().status(), 503);
    other.store.set_gone(false);
    let verified = other.authority.verify_access(&acme(), presented).await;
    assert!(verified.is_ok());
}

/// Rules 21 and 22, for a rotation elsewhere of which no report ever comes.
#[tokio::test]
async fn a_known_access_token_is_read_through_once_the_lease_has_run_out() {
    const LEASE: Duration = Duration::from_millis(20);
    let world = World::with_freshness(Freshness::Lease {
        duration: LEASE,
        shared: false,
    })
    .await;
    let other = World::over(world.store.clone());
    let access = exchange(&world).await;
    let presented = PresentedToken::new(access.as_bytes());
    let verify = async || world.authority.verify_access(&acme(), presented).await;
    world.store.confirm(world.clock.moment());
    verify().await.unwrap();
    let reads = world.store.reads();
    world.clock.advance(LEASE);
    verify().await.unwrap();
    assert_eq!(world.store.reads(), reads, "within the lease");
    world.clock.advance(Duration::from_millis(1));
    let opened = world.cipher.opened();
    verify().await.unwrap();
    assert_eq!(world.store.reads(), reads + 1, "after it");
    assert_eq!(world.cipher.opened(), opened, "its proof is known");
    other.rotate("acme", "primary").await;
    world.clock.advance(LEASE + Duration::from_millis(1));
    assert!(verify().await.is_err());
}
