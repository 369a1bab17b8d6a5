//! Requests that are large, deep or many of something: turned away like others, and at no greater cost than
//! their bytes; `a_token_beyond_4_kib_costs_nothing` and its neighbours are about the cost.

use axum::body::Body;
use http::{Method, Request};

use crate::{
    common::{
        World, bearer, get,
        oracle::{WORKSPACE, claims, encode, header, sign},
    },
    headers::Planter,
    sessions::Desk,
    table::{Attempt, Case, Expected},
};

const FAMILY: &str = "denial of service";

pub(crate) async fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(tokens().await);
    cases.extend(requests().await);
    cases.extend(sessions().await);
    cases
}

/// Claims with a right MAC that are as long as a token may be.
async fn tokens() -> Vec<Case> {
    let planter = Planter::new().await;
    let good = claims();
    let members = |member: &str, count| format!("{{{}{}", member.repeat(count), &good[1..]);
    let tokens = [
        (
            "a generation of 2,000 digits",
            good.replace("\"gen\":1", &format!("\"gen\":{}", "1".repeat(2000))),
        ),
        (
            "a generation of 2,000 zeros and 1",
            good.replace("\"gen\":1", &format!("\"gen\":{}1", "0".repeat(2000))),
        ),
        (
            "a generation of 2,000 places",
            good.replace("\"gen\":1", &format!("\"gen\":1.{}", "0".repeat(2000))),
        ),
        (
            "an exponent of 2,000 digits",
            good.replace("\"gen\":1", &format!("\"gen\":1e{}", "9".repeat(2000))),
        ),
        (
            "an aud of 2,000 letters",
            good.replace("acme", &"a".repeat(2000)),
        ),
        (
            "a slot of 2,000 letters",
            good.replace("primary", &"a".repeat(2000)),
        ),
        (
            "an aud of 350 escapes",
            good.replace("acme", &"\\u0061".repeat(350)),
        ),
        ("350 auds", members("\"aud\":1,", 350)),
        ("400 unknown members", members("\"x\":1,", 400)),
        (
            "1,000 lists in lists",
            good.replacen(
                ":1",
                &format!(":{}1{}", "[".repeat(1000), "]".repeat(1000)),
                1,
            ),
        ),
        (
            "350 objects in objects",
            good.replacen(
                ":1",
                &format!(":{}1{}", "{\"a\":".repeat(350), "}".repeat(350)),
                1,
            ),
        ),
        (
            "2,500 spaces before the claims",
            format!("{}{good}", " ".repeat(2500)),
        ),
        (
            "2,500 NULs behind the claims",
            format!("{good}{}", "\0".repeat(2500)),
        ),
    ];
    let mut cases = Vec::new();
    for (name, json) in tokens {
        let token = sign(WORKSPACE, header(WORKSPACE), json);
        assert!(token.len() <= 4096, "{name} is refused by its length alone");
        cases.push(planter.case(FAMILY, name, token).await);
    }
    for length in [4095, 4096, 4097, 8192] {
        let padding = length - sign(WORKSPACE, header(WORKSPACE), "").len();
        let payload = encode(vec![b' '; padding])[..padding].to_owned();
        let head = encode(header(WORKSPACE));
        let token = format!("{head}.{payload}.{}", "A".repeat(43));
        let name = format!("a token of {length} bytes with a false MAC");
        cases.push(planter.case(FAMILY, &name, token).await);
    }
    cases
}

async fn requests() -> Vec<Case> {
    use Expected::{BadAddress, BadPlace, InvalidToken, NoCredential};
    let world = World::new().await;
    let app = world.by_query();
    let token = world.token.as_str();
    let query = |query: String| get(&format!("/mcp/acme?{query}"), &[]);
    let value = |value: String| get("/mcp/acme", &[("authorization", value.as_bytes())]);
    let fields = |count, value: &str| {
        let fields = vec![("authorization", value.as_bytes()); count];
        get("/mcp/acme", &fields)
    };
    let good = format!("Bearer {token}");
    let host = |host: String| {
        let mut request = bearer(token.as_bytes());
        request.headers_mut().insert("host", host.parse().unwrap());
        request
    };
    let path = |path: String| {
        let mut request: Request<Body> = bearer(token.as_bytes());
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    let requests = [
        ("the header 50 times", fields(50, &good), BadPlace),
        ("an empty header 50 times", fields(50, ""), BadPlace),
        (
            "another scheme 50 times",
            fields(50, "Basic eDp5"),
            BadPlace,
        ),
        (
            "Bearer 1,000 times in one header",
            value("Bearer ".repeat(1000) + token),
            InvalidToken,
        ),
        (
            "10,000 dots",
            value(format!("Bearer {}", ".".repeat(10_000))),
            InvalidToken,
        ),
        (
            "10,000 spaces and x",
            value(format!("Bearer{}x", " ".repeat(10_000))),
            InvalidToken,
        ),
        (
            "10,000 quotes",
            value(format!("Bearer {}", "\"".repeat(10_000))),
            InvalidToken,
        ),
        (
            "10,000 commas",
            value(format!("Bearer {}", ",".repeat(10_000))),
            InvalidToken,
        ),
        (
            "10,000 bytes that are no ASCII",
            get(
                "/mcp/acme",
                &[("authorization", &[b"Bearer ", &[0xff; 10_000][..]].concat())],
            ),
            InvalidToken,
        ),
        (
            "the token 30 times in one header",
            value(format!("Bearer {}", token.repeat(30))),
            InvalidToken,
        ),
        (
            "a scheme of 10,000 letters",
            value(format!("{} x", "B".repeat(10_000))),
            NoCredential,
        ),
        (
            "10,000 braces",
            value(format!("Bearer ${}", "{".repeat(10_000))),
            InvalidToken,
        ),
        (
            "a variable of 10,000 letters",
            value(format!("Bearer ${{{}}}", "A".repeat(10_000))),
            InvalidToken,
        ),
        (
            "the parameter 100 times",
            query(format!("token={token}&").repeat(25)),
            BadPlace,
        ),
        (
            "an empty parameter 1,000 times",
            query("token=&".repeat(1000)),
            BadPlace,
        ),
        (
            "a parameter without a value 1,000 times",
            query("token&".repeat(1000)),
            BadPlace,
        ),
        (
            "the token behind 10,000 ampersands",
            query(format!("{}token={token}", "&".repeat(10_000))),
            BadPlace,
        ),
        (
            "the token behind 5,000 parameters",
            query(format!("{}token={token}", "a&".repeat(5000))),
            BadPlace,
        ),
        (
            "the token before 5,000 parameters",
            query(format!("token={token}{}", "&a".repeat(5000))),
            BadPlace,
        ),
        (
            "the token behind 3,500 escapes",
            query(format!("{}&token={token}", "%61".repeat(3500))),
            BadPlace,
        ),
        ("3,500 escapes", query("%61".repeat(3500)), BadPlace),
        (
            "a value of 3,500 escapes",
            query(format!("token={}", "%61".repeat(3500))),
            InvalidToken,
        ),
        (
            "a value of 10,000 letters",
            query(format!("token={}", "a".repeat(10_000))),
            InvalidToken,
        ),
        (
            "a value of 10,000 pluses",
            query(format!("token={}", "+".repeat(10_000))),
            InvalidToken,
        ),
        (
            "1,300 escapes of one byte of three",
            query(format!("token={}", "%e2".repeat(1300))),
            BadPlace,
        ),
        (
            "an escaped name of 10,000 letters",
            query(format!("{}=x", "%74".repeat(3400))),
            BadPlace,
        ),
        (
            "10,000 equal signs",
            query(format!("token{}", "=".repeat(10_000))),
            InvalidToken,
        ),
        (
            "a host of 10,000 letters",
            host("a".repeat(10_000)),
            BadAddress,
        ),
        (
            "a host of 5,000 labels",
            host("a.".repeat(5000) + "test"),
            BadAddress,
        ),
        (
            "a host of 254 characters",
            host("a.".repeat(125) + "test"),
            BadAddress,
        ),
        (
            "a port of 10,000 digits",
            host(format!("a.test:{}", "8".repeat(10_000))),
            BadAddress,
        ),
        (
            "a path of 10,000 letters",
            path(format!("/mcp/{}", "a".repeat(10_000))),
            BadAddress,
        ),
        (
            "a path of 5,000 segments",
            path(format!("/mcp{}", "/a".repeat(5000))),
            BadAddress,
        ),
        (
            "a path of 3,000 dot segments",
            path(format!("/mcp{}/acme", "/..".repeat(3000))),
            BadAddress,
        ),
        (
            "a path of 3,000 escapes",
            path(format!("/mcp/{}", "%61".repeat(3000))),
            BadAddress,
        ),
        (
            "a path of 10,000 slashes",
            path("/".repeat(10_000)),
            BadAddress,
        ),
    ];
    requests
        .into_iter()
        .map(|(name, request, expected)| Case {
            family: FAMILY,
            name: name.to_owned(),
            attack: Attempt::request(&app, request, &[token]),
            expected,
            control: Attempt::request(&app, bearer(token.as_bytes()), &[token]),
        })
        .collect()
}

async fn sessions() -> Vec<Case> {
    let desk = Desk::new().await;
    let token = desk.world.token.as_str();
    let live = desk.open(token).await;
    let ids = [
        ("10,000 letters", "A".repeat(10_000)),
        ("10,000 dots", ".".repeat(10_000)),
        ("the live id 20 times", live.repeat(20)),
        (
            "the live id and 4,000 letters",
            format!("{live}{}", "A".repeat(4000)),
        ),
        (
            "4,000 letters and the live id",
            format!("{}{live}", "A".repeat(4000)),
        ),
    ];
    let cases = ids.map(|(name, id)| Case {
        family: FAMILY,
        name: format!("{name} for a session"),
        attack: desk.attempt(Method::POST, token, &[&id]),
        expected: Expected::NoSession,
        control: desk.attempt(Method::POST, token, &[&live]),
    });
    cases.into()
}
