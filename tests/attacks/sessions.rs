//! Session ids: guessed, taken over, forged, too old, too many.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use std::convert::Infallible;

use axum::{Router, body::Body};
use http::{HeaderMap, Method, Request, Response};
use tower::Layer as _;
use tower_workspace_token::{SessionLayer, clock::Timestamp};
use warp::{Filter as _, Reply as _, filters::header::headers_cloned, sse};

use crate::{
    common::{
        App, NOW, SIGNING, TARGET, World, acme,
        oracle::{self, SESSION, WORKSPACE, claims, encode, header, mac_key, sign},
        primary,
        send::{Answer, oneshot},
    },
    headers::add_new,
    json::Object,
    kinds,
    table::{Attempt, Case, Expected},
};

pub(crate) const SESSION_ID: &str = "mcp-session-id";
pub(crate) const LIFETIME: Duration = Duration::from_secs(3600);
pub(crate) const IDLE: Duration = Duration::from_secs(600);

/// A world with an MCP service of sorts behind a session layer.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) world: World,
    pub(crate) app: App,
    /// The inner ids that were called ended.
    pub(crate) ended: Arc<Mutex<Vec<String>>>,
}

impl Desk {
    pub(crate) async fn new() -> Self {
        Self::with(|layer| layer).await
    }

    pub(crate) async fn with(change: impl FnOnce(SessionLayer) -> SessionLayer) -> Self {
        Self::over(World::new().await, change)
    }

    pub(crate) fn over(world: World, change: impl FnOnce(SessionLayer) -> SessionLayer) -> Self {
        let ended: Arc<Mutex<Vec<String>>> = Arc::default();
        let on_end = Arc::clone(&ended);
        let layer = SessionLayer::new(world.authority.clone())
            .with_lifetime(LIFETIME)
            .with_idle_timeout(IDLE)
            .on_session_end(move |id| on_end.lock().unwrap().push(id.to_owned()));
        let (layer, outer) = (change(layer), world.path_layer());
        let opened: Arc<Mutex<usize>> = Arc::default();
        let by_warp = {
            let opened = Arc::clone(&opened);
            headers_cloned().map(move |headers| match inner(&opened, &headers) {
                Some(response) => response.into_response(),
                None => sse::reply(tokio_stream::pending::<Result<sse::Event, Infallible>>())
                    .into_response(),
            })
        };
        let by_axum = async move |headers: HeaderMap| match inner(&opened, &headers) {
            Some(response) => response.map(Body::from),
            None => Response::new(Body::from_stream(tokio_stream::pending::<
                Result<String, Infallible>,
            >())),
        };
        let service = outer.layer(layer.layer(warp::service(by_warp)));
        let router = Router::new().fallback(by_axum).layer(layer).layer(outer);
        let app = App::new(router, service);
        Self { world, app, ended }
    }

    /// Opens a session and returns its id.
    pub(crate) async fn open(&self, token: &str) -> String {
        let answer = oneshot(&self.app, call(Method::POST, token, &[])).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header(SESSION_ID).unwrap().to_owned()
    }

    pub(crate) async fn post(&self, token: &str, session: &str) -> Answer {
        oneshot(&self.app, call(Method::POST, token, &[session])).await
    }

    pub(crate) fn attempt(&self, method: Method, token: &str, sessions: &[&str]) -> Attempt {
        let credentials: Vec<&str> = [token].iter().chain(sessions).copied().collect();
        Attempt::request(&self.app, call(method, token, sessions), &credentials)
    }
}

/// Opens a session for whoever has none; `None` is a body that stays open.
fn inner(opened: &Mutex<usize>, headers: &HeaderMap) -> Option<Response<String>> {
    if headers.contains_key("x-stream") {
        return None;
    }
    let opens = |id: String| {
        let response = Response::builder().header(SESSION_ID, id);
        response.body(String::from("opened")).unwrap()
    };
    let session = headers.get(SESSION_ID).map(|id| id.to_str().unwrap());
    Some(match session {
        Some(session) if headers.contains_key("x-reopen") => opens(format!("{session}-again")),
        Some(session) => Response::new(format!("in {session}")),
        None => {
            let mut opened = opened.lock().unwrap();
            *opened += 1;
            opens(format!("inner-{opened}"))
        }
    })
}

pub(crate) fn call(method: Method, token: &str, sessions: &[&str]) -> Request<Body> {
    call_with(method, token, sessions, &[])
}

pub(crate) fn call_with(
    method: Method,
    token: &str,
    sessions: &[&str],
    headers: &[(&str, &str)],
) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(TARGET)
        .header("host", "a.test")
        .header("authorization", format!("Bearer {token}"));
    for session in sessions {
        request = request.header(SESSION_ID, *session);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

pub(crate) async fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(forged().await);
    cases.extend(chosen().await);
    cases.extend(foreign().await);
    cases.extend(ended().await);
    cases.extend(places().await);
    cases.push(too_many().await);
    cases
}

fn case(name: &str, attack: Attempt, expected: Expected, control: Attempt) -> Case {
    Case {
        family: "sessions",
        name: name.to_owned(),
        attack,
        expected,
        control,
    }
}

/// Session tokens with a right MAC, made by somebody who holds the signing key, around a live `sid`.
async fn forged() -> Vec<Case> {
    let desk = Desk::with(|layer| layer.with_sessions_per_token(10_000)).await;
    let token = desk.world.token.as_str();
    let live = desk.open(token).await;
    assert_eq!(
        sign(SESSION, header(SESSION), oracle::payload(&live)),
        live,
        "the oracle mints what the library mints"
    );
    let mut cases = Vec::new();
    let sid_of = |session: &str| text(&oracle::payload(session), "sid");
    let sid = sid_of(&live);
    for (name, payload) in wrong_claims(&live, token) {
        // Around a session of its own: one that has expired is gone once it was seen.
        let doomed = sid_of(&desk.open(token).await);
        assert_ne!(
            payload,
            oracle::payload(&live).into_bytes(),
            "{name} changes nothing"
        );
        let payload = replace(&payload, sid.as_bytes(), doomed.as_bytes());
        let session = sign(SESSION, header(SESSION), payload);
        cases.push(case(
            &name,
            desk.attempt(Method::POST, token, &[&session]),
            Expected::NoSession,
            desk.attempt(Method::POST, token, &[&live]),
        ));
    }
    let good = oracle::payload(&live);
    let access = "workspace-access+jwt";
    let others = [
        (
            "a session under the workspace MAC",
            sign(WORKSPACE, header(SESSION), &good),
        ),
        (
            "a session under the workspace header",
            sign(SESSION, header(WORKSPACE), &good),
        ),
        (
            "the workspace token as the session",
            desk.world.token.clone(),
        ),
        (
            "an access token as the session",
            sign(access, header(access), &good),
        ),
        (
            "a session with a cut signature",
            live[..live.len() - 1].to_owned(),
        ),
        ("a session with padding", format!("{live}=")),
        ("a session with something behind", format!("{live} x")),
        ("the inner service's own id", String::from("inner-1")),
        (
            "an id that was guessed",
            String::from("1868a90c-7b31-4d4e-9d1c-2f5a3f1c0b55"),
        ),
        ("an empty id", String::new()),
        ("an id of 8 KiB", "A".repeat(8192)),
        ("an id that climbs", String::from("../inner-1")),
    ];
    for (name, session) in others {
        cases.push(case(
            name,
            desk.attempt(Method::POST, token, &[&session]),
            Expected::NoSession,
            desk.attempt(Method::POST, token, &[&live]),
        ));
    }
    cases
}

/// The text that the member `name` is.
fn text(json: &str, name: &str) -> String {
    let value = json.split(&format!("\"{name}\":\"")).nth(1).unwrap();
    value.split('"').next().unwrap().to_owned()
}

/// `text` with `to` wherever there is `from`, which is as long.
fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    for at in 0..(text.len() + 1).saturating_sub(from.len()) {
        if text[at..].starts_with(from) {
            text[at..at + to.len()].copy_from_slice(to);
        }
    }
    text
}

/// The claims of `live`, each wrong in one way.
fn wrong_claims(live: &str, token: &str) -> Vec<(String, Vec<u8>)> {
    let good = oracle::payload(live);
    let exp = NOW + LIFETIME.as_secs();
    let set = |from: &str, to: &str| good.replace(from, to);
    let exp_is = |other: &str| set(&format!("\"exp\":{exp}"), &format!("\"exp\":{other}"));
    let iat_is = |other: &str| set(&format!("\"iat\":{NOW}"), &format!("\"iat\":{other}"));
    let sid = text(&good, "sid");
    let tid = oracle::token_id(&text(&oracle::payload(token), "jti")).to_string();
    let others = [
        (
            "a session of another workspace, by its aud",
            set("acme", "other"),
        ),
        ("an aud in a list", set(r#""acme""#, r#"["acme"]"#)),
        ("no aud", set(r#""aud":"acme","#, "")),
        ("an exp that is now", exp_is(&NOW.to_string())),
        ("an exp that is past", exp_is("1")),
        ("an exp of 0", exp_is("0")),
        ("an exp as text", exp_is(&format!("\"{exp}\""))),
        ("an exp that is null", exp_is("null")),
        ("a fractional exp", exp_is(&format!("{exp}.0"))),
        ("a negative exp", exp_is("-1")),
        ("an exp past 64 bits", exp_is("99999999999999999999")),
        ("no exp", set(&format!("\"exp\":{exp},"), "")),
        (
            "the exp twice",
            set("\"exp\"", &format!("\"exp\":{exp},\"exp\"")),
        ),
        ("another generation", set(r#""gen":1"#, r#""gen":2"#)),
        ("generation 0", set(r#""gen":1"#, r#""gen":0"#)),
        ("an iat 61 s in the future", iat_is(&(NOW + 61).to_string())),
        ("an iat as text", iat_is(&format!("\"{NOW}\""))),
        (
            "a sid that was guessed",
            set(&sid, "AAAAAAAAAAAAAAAAAAAAAA"),
        ),
        ("a sid that is cut", set(&sid, &sid[..21])),
        ("a sid that is the inner id", set(&sid, "inner-1")),
        (
            "the id of another token",
            set(&tid, oracle::token_id("x").as_str()),
        ),
        (
            "an unknown member",
            set("\"aud\"", "\"admin\":true,\"aud\""),
        ),
        (
            "the values alone, as a list",
            format!(r#"["acme",{exp},1,{NOW},"{sid}","{tid}"]"#),
        ),
    ];
    let mut cases = Vec::from(others.map(|(name, json)| (name.to_owned(), json.into_bytes())));
    let (exp, iat) = (exp.to_string(), NOW.to_string());
    let (sid, tid) = (format!("\"{sid}\""), format!("\"{tid}\""));
    let object = Object::new(&[
        ("aud", "\"acme\""),
        ("exp", &exp),
        ("gen", "1"),
        ("iat", &iat),
        ("sid", &sid),
        ("tid", &tid),
    ]);
    assert_eq!(object.to_json(), good);
    // Times that are neither over nor to come as well: it is not the token that was minted for the session.
    add_new(&mut cases, object.wrong(|_, _| false));
    cases
}

/// Ids that a client chose, and kinds of token that are none of a session's: nobody fixes a session's id.
async fn chosen() -> Vec<Case> {
    let desk = Desk::new().await;
    let token = desk.world.token.as_str();
    let live = desk.open(token).await;
    let other = desk.open(token).await;
    let good = oracle::payload(&live);
    let mut ids: Vec<_> = CHOSEN
        .iter()
        .map(|id| (format!("the chosen id {id:?}"), (*id).to_owned()))
        .collect();
    let session = ("mcp-session+jwt", good.as_str());
    let claims = claims();
    for (name, header, key, payload) in kinds::matrix(session, ("workspace+jwt", &claims)) {
        let id = oracle::sign_text(
            &mac_key(&SIGNING, key),
            encode(oracle::header(header)),
            encode(payload),
        );
        ids.push((name, id));
    }
    let parts = |token: &str| -> Vec<String> { token.split('.').map(str::to_owned).collect() };
    let (one, two) = (parts(&live), parts(&other));
    ids.extend(
        [
            (
                "the claims of one session, the MAC of another",
                [&one[0], &one[1], &two[2]],
            ),
            (
                "the claims of another session, the MAC of one",
                [&two[0], &two[1], &one[2]],
            ),
            ("the parts in another order", [&one[1], &one[0], &one[2]]),
            ("the header twice", [&one[0], &one[0], &one[2]]),
            ("the claims twice", [&one[1], &one[1], &one[2]]),
        ]
        .map(|(name, parts)| (name.to_owned(), parts.map(String::as_str).join("."))),
    );
    let spelled = [
        ("the live id in lower case", live.to_lowercase()),
        ("the live id in upper case", live.to_uppercase()),
        ("the live id in quotes", format!("\"{live}\"")),
        ("the live id twice with a comma", format!("{live}, {live}")),
        ("the live id with a parameter", format!("{live};v=1")),
        ("the live id as Bearer", format!("Bearer {live}")),
        ("the live id percent-encoded", live.replace('.', "%2e")),
        ("the live id encoded once more", encode(&live)),
        ("the sid alone", text(&good, "sid")),
        ("the claims alone", encode(&good)),
        ("the claims as they are", good.clone()),
        (
            "the live id without its header",
            live.split_once('.').unwrap().1.to_owned(),
        ),
        (
            "the live id without its MAC",
            live.rsplit_once('.').unwrap().0.to_owned(),
        ),
        ("the live id with a dot behind", format!("{live}.")),
        ("the live id with a dot before", format!(".{live}")),
        (
            "the live id with a tab inside",
            live.replacen('.', "\t.", 1),
        ),
    ];
    ids.extend(spelled.map(|(name, id)| (name.to_owned(), id)));
    let mut cases = Vec::new();
    for (name, id) in ids {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            cases.push(case(
                &format!("{method} in {name}"),
                desk.attempt(method, token, &[&id]),
                Expected::NoSession,
                desk.attempt(Method::POST, token, &[&live]),
            ));
        }
    }
    cases
}

const CHOSEN: [&str; 18] = [
    "0",
    "1",
    "-1",
    "null",
    "undefined",
    "default",
    "session",
    "admin",
    "inner-0",
    "inner-2",
    "../inner-1",
    "*",
    "%00",
    "00000000-0000-0000-0000-000000000000",
    "ffffffffffffffffffffffffffffffff",
    "AAAAAAAAAAAAAAAAAAAAAA",
    "' OR '1'='1",
    "{\"sid\":\"inner-1\"}",
];

/// Sessions of somebody else.
async fn foreign() -> Vec<Case> {
    let desk = Desk::new().await;
    let world = &desk.world;
    let second = world.issue("acme", "second").await;
    let token = world.token.as_str();
    let own = desk.open(token).await;
    let sibling = desk.open(&second).await;
    let mut cases = Vec::new();
    for method in [Method::POST, Method::GET, Method::DELETE] {
        cases.push(case(
            &format!("{method} in a session of another token of the workspace"),
            desk.attempt(method.clone(), token, &[&sibling]),
            Expected::NoSession,
            desk.attempt(Method::POST, &second, &[&sibling]),
        ));
    }
    let other = world.issue("other", "primary").await;
    let mut open = call(Method::POST, &other, &[]);
    *open.uri_mut() = "/mcp/other".parse().unwrap();
    let elsewhere = oneshot(&desk.app, open).await;
    let elsewhere = elsewhere.header(SESSION_ID).unwrap().to_owned();
    for method in [Method::POST, Method::GET, Method::DELETE] {
        cases.push(case(
            &format!("{method} in a session of another workspace"),
            desk.attempt(method, token, &[&elsewhere]),
            Expected::NoSession,
            desk.attempt(Method::POST, token, &[&own]),
        ));
    }
    cases.push(case(
        "a session without its token",
        Attempt::request(
            &desk.app,
            {
                let mut request = call(Method::POST, token, &[&own]);
                request.headers_mut().remove("authorization");
                request
            },
            &[&own],
        ),
        Expected::NoCredential,
        desk.attempt(Method::POST, token, &[&own]),
    ));
    cases.push(case(
        "a session with the token of another workspace",
        desk.attempt(Method::POST, &other, &[&own]),
        Expected::InvalidToken,
        desk.attempt(Method::POST, token, &[&own]),
    ));
    // A second process with the same keys, which never opened this session.
    let stranger = Desk::over(
        World {
            token: world.token.clone(),
            ..World::over(world.store.clone())
        },
        |layer| layer,
    );
    for method in [Method::POST, Method::GET, Method::DELETE] {
        cases.push(case(
            &format!("{method} in a session of another process"),
            stranger.attempt(method, token, &[&own]),
            Expected::NoSession,
            desk.attempt(Method::POST, token, &[&own]),
        ));
    }
    cases
}

/// Sessions that were, and are no longer.
async fn ended() -> Vec<Case> {
    let mut cases = Vec::new();
    let desk = Desk::new().await;
    let old = desk.open(&desk.world.token).await;
    let new = desk.world.rotate("acme", "primary").await;
    let control = desk.open(&new).await;
    for method in [Method::POST, Method::GET, Method::DELETE] {
        cases.push(case(
            &format!("{method} in a session of the generation before, with the new token"),
            desk.attempt(method, &new, &[&old]),
            Expected::NoSession,
            desk.attempt(Method::POST, &new, &[&control]),
        ));
    }
    cases.push(case(
        "a session and the token of the generation before",
        desk.attempt(Method::POST, &desk.world.token, &[&old]),
        Expected::InvalidToken,
        desk.attempt(Method::POST, &new, &[]),
    ));

    let desk = Desk::new().await;
    let token = desk.world.token.clone();
    let session = desk.open(&token).await;
    let deleted = oneshot(&desk.app, call(Method::DELETE, &token, &[&session])).await;
    assert_eq!(deleted.status, 200);
    let control = desk.open(&token).await;
    for method in [Method::POST, Method::GET, Method::DELETE] {
        cases.push(case(
            &format!("{method} after DELETE"),
            desk.attempt(method, &token, &[&session]),
            Expected::NoSession,
            desk.attempt(Method::POST, &token, &[&control]),
        ));
    }
    // The slot lives again, under a token of its own.
    let desk = Desk::new().await;
    let old = desk.open(&desk.world.token).await;
    desk.world
        .authority
        .revoke(&acme(), &primary())
        .await
        .unwrap();
    let new = desk.world.issue("acme", "primary").await;
    let control = desk.open(&new).await;
    for method in [Method::POST, Method::GET, Method::DELETE] {
        cases.push(case(
            &format!("{method} in a session of before a revocation"),
            desk.attempt(method, &new, &[&old]),
            Expected::NoSession,
            desk.attempt(Method::POST, &new, &[&control]),
        ));
    }
    let times = [
        ("a session whose time is up", LIFETIME, true),
        (
            "a session that was idle for too long",
            IDLE + Duration::from_secs(1),
            false,
        ),
    ];
    for (name, time, in_use) in times {
        let desk = Desk::with(|layer| {
            if in_use {
                layer.with_idle_timeout(Duration::MAX)
            } else {
                layer
            }
        })
        .await;
        let token = desk.world.token.clone();
        let session = desk.open(&token).await;
        desk.world.clock.advance(time);
        let control = desk.open(&token).await;
        for method in [Method::POST, Method::GET, Method::DELETE] {
            cases.push(case(
                &format!("{method} in {name}"),
                desk.attempt(method, &token, &[&session]),
                Expected::NoSession,
                desk.attempt(Method::POST, &token, &[&control]),
            ));
        }
    }
    // The clock of a node that is ahead was set back by more than the skew.
    let desk = Desk::new().await;
    let token = desk.world.token.clone();
    let session = desk.open(&token).await;
    desk.world.clock.set(Timestamp::from_secs(NOW - 61));
    cases.push(case(
        "a session from more than 60 s in the future",
        desk.attempt(Method::POST, &token, &[&session]),
        Expected::NoSession,
        desk.attempt(Method::POST, &token, &[&desk.open(&token).await]),
    ));
    cases
}

async fn places() -> Vec<Case> {
    let desk = Desk::new().await;
    let token = desk.world.token.as_str();
    let session = desk.open(token).await;
    let other = desk.open(token).await;
    let bad: [(&str, Method, Vec<&str>); 6] = [
        (
            "the session twice, equal",
            Method::POST,
            vec![&session, &session],
        ),
        (
            "the session twice, different",
            Method::POST,
            vec![&session, &other],
        ),
        (
            "the session twice, one empty",
            Method::POST,
            vec![&session, ""],
        ),
        (
            "the session twice in a GET",
            Method::GET,
            vec![&session, &session],
        ),
        ("a GET without a session", Method::GET, vec![]),
        ("a DELETE without a session", Method::DELETE, vec![]),
    ];
    bad.into_iter()
        .map(|(name, method, sessions)| {
            let attack = desk.attempt(method, token, &sessions);
            let control = desk.attempt(Method::POST, token, &[&session]);
            case(name, attack, Expected::BadSession, control)
        })
        .collect()
}

async fn too_many() -> Case {
    let desk = Desk::with(|layer| layer.with_sessions_per_token(1)).await;
    let token = desk.world.token.as_str();
    let session = desk.open(token).await;
    let second = desk.world.issue("acme", "second").await;
    let stream = call_with(Method::GET, token, &[&session], &[("x-stream", "1")]);
    let stream = tower::ServiceExt::oneshot(desk.app.axum.clone(), stream)
        .await
        .unwrap();
    // Held open for as long as the test runs.
    std::mem::forget(stream);
    case(
        "one session more than the token may have, all in use",
        desk.attempt(Method::POST, token, &[]),
        Expected::TooMany,
        desk.attempt(Method::POST, &second, &[]),
    )
}
