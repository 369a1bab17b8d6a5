//! What no conformance suite asks: every refusal of the MCP endpoint, over a socket, as one table.
//!
//! A row says what is sent and what comes back: the status, the code of the JSON-RPC error (or `result`), and
//! what `WWW-Authenticate` says (RFC 6750 §3): its `error`, `challenge` where there is none, nothing without it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    client::{Era, World, answer},
    common::{Answer, Home, text},
};

/// Name, method and query, headers beside those of every client, body, and what comes back.
type Row = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
    &'static str,
);

const TOKEN: &str = "authorization: Bearer {token}";
const SECOND: &str = "authorization: Bearer {second}";
const SESSION: &str = "mcp-session-id: {session}";
const LEGACY: &str = "mcp-protocol-version: 2025-11-25";
const MODERN: &str = "mcp-protocol-version: 2026-07-28";
const LISTS: &str = "mcp-method: tools/list";

const LIST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
const NEW_LIST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
const FUTURE_LIST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2099-01-01","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
const NEW_INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":7,"method":"initialize","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
const DISCOVER: &str = r#"{"jsonrpc":"2.0","id":7,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":7,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
const UNREADABLE: &str = r#"{"jsonrpc":"2.0","id":7,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
const NO_PARAMS: &str = r#"{"jsonrpc":"2.0","id":7,"method":"initialize"}"#;

/// The credential comes first, whatever else is wrong.
#[rustfmt::skip]
const CREDENTIALS: &[Row] = &[
    ("no credential",               "POST", &[], LIST, "401 -32001 challenge"),
    ("no credential, no JSON",      "POST", &[], "{", "401 -32001 challenge"),
    ("no credential, a session",    "POST", &[SESSION], LIST, "401 -32001 challenge"),
    ("another scheme",              "POST", &["authorization: Basic eDp5"], LIST, "401 -32001 challenge"),
    ("an empty token",              "POST", &["authorization: Bearer "], LIST, "401 -32001 invalid_token"),
    ("a variable, literally",       "POST", &["authorization: Bearer ${NAME}"], LIST, "401 -32001 invalid_token"),
    ("no token of ours",            "POST", &["authorization: Bearer a.b.c"], LIST, "401 -32001 invalid_token"),
    ("a token that was rotated",    "POST", &["authorization: Bearer {dead}"], LIST, "401 -32001 invalid_token"),
    ("a token of another workspace", "POST", &["authorization: Bearer {other}"], LIST, "401 -32001 invalid_token"),
    ("a session token as the token", "POST", &["authorization: Bearer {session}"], LIST, "401 -32001 invalid_token"),
    ("a dead token, a session",     "POST", &["authorization: Bearer {dead}", SESSION], LIST, "401 -32001 invalid_token"),
    ("a dead token in the query",   "POST ?token={dead}", &[], LIST, "401 -32001 invalid_token"),
    ("a dead token, GET",           "GET", &["authorization: Bearer {dead}", SESSION], "", "401 -32001 invalid_token"),
    ("a dead token, DELETE",        "DELETE", &["authorization: Bearer {dead}", SESSION], "", "401 -32001 invalid_token"),
    ("a dead token, 2026-07-28",    "POST", &["authorization: Bearer {dead}", MODERN, LISTS], NEW_LIST, "401 -32001 invalid_token"),
    ("header and query",            "POST ?token={token}", &[TOKEN], LIST, "400 -32600 invalid_request"),
    ("the header twice",            "POST", &[TOKEN, TOKEN], LIST, "400 -32600 invalid_request"),
    ("the parameter twice",         "POST ?token={token}&token={token}", &[], LIST, "400 -32600 invalid_request"),
    ("an escape that is none",      "POST ?token=%zz", &[], LIST, "400 -32600 invalid_request"),
    ("Origin of a stranger",        "POST", &[TOKEN, "origin: https://evil.test"], LIST, "403 -32001"),
    ("Origin null",                 "POST", &[TOKEN, "origin: null"], LIST, "403 -32001"),
    ("Origin, no credential",       "POST", &["origin: https://evil.test"], LIST, "403 -32001"),
    ("its own Origin",              "POST", &[TOKEN, "origin: http://{host}", SESSION, LEGACY], LIST, "200 result"),
];

/// The era of sessions, up to 2025-11-25.
#[rustfmt::skip]
const SESSIONS: &[Row] = &[
    ("initialize",                  "POST", &[TOKEN], INITIALIZE, "200 result"),
    ("initialize, unreadable",      "POST", &[TOKEN], UNREADABLE, "400 -32602"),
    ("initialize without params",   "POST", &[TOKEN, LEGACY], NO_PARAMS, "400 -32602"),
    ("initialize by query",         "POST ?token={token}", &[], INITIALIZE, "200 result"),
    ("a call in a session",         "POST", &[TOKEN, SESSION, LEGACY], LIST, "200 result"),
    ("a call without the version",  "POST", &[TOKEN, SESSION], LIST, "200 result"),
    ("a version of before",         "POST", &[TOKEN, SESSION, "mcp-protocol-version: 2025-03-26"], LIST, "200 result"),
    ("the oldest version",          "POST", &[TOKEN, SESSION, "mcp-protocol-version: 2024-11-05"], LIST, "200 result"),
    ("a version that is none",      "POST", &[TOKEN, SESSION, "mcp-protocol-version: 1999-01-01"], LIST, "400 -32600"),
    ("a call without a session",    "POST", &[TOKEN, LEGACY], LIST, "400 -32600"),
    ("GET without a session",       "GET", &[TOKEN], "", "400 -32600"),
    ("DELETE without a session",    "DELETE", &[TOKEN], "", "400 -32600"),
    ("two sessions",                "POST", &[TOKEN, SESSION, SESSION], LIST, "400 -32600"),
    ("a session that is none",      "POST", &[TOKEN, "mcp-session-id: x", LEGACY], LIST, "404 -32001"),
    ("a session that was ended",    "POST", &[TOKEN, "mcp-session-id: {ended}", LEGACY], LIST, "404 -32001"),
    ("a session of another token",  "POST", &[TOKEN, "mcp-session-id: {theirs}", LEGACY], LIST, "404 -32001"),
    ("the token as the session",    "POST", &[TOKEN, "mcp-session-id: {token}", LEGACY], LIST, "404 -32001"),
    ("GET of an unknown session",   "GET", &[TOKEN, "mcp-session-id: x"], "", "404 -32001"),
    ("DELETE of an unknown session", "DELETE", &[TOKEN, "mcp-session-id: x"], "", "404 -32001"),
    ("DELETE of an ended session",  "DELETE", &[TOKEN, "mcp-session-id: {ended}"], "", "404 -32001"),
    ("DELETE of another's session", "DELETE", &[TOKEN, "mcp-session-id: {theirs}"], "", "404 -32001"),
    ("an unknown session, no JSON", "POST", &[TOKEN, "mcp-session-id: x"], "{", "404 -32001"),
    ("no JSON",                     "POST", &[TOKEN, SESSION], "{", "400 -32700"),
    ("no JSON, no session",         "POST", &[TOKEN], "{", "400 -32700"),
    ("no body",                     "POST", &[TOKEN, SESSION], "", "400 -32700"),
    ("a batch",                     "POST", &[TOKEN, SESSION], r#"[{"jsonrpc":"2.0","id":7,"method":"ping"}]"#, "400 -32600"),
    ("a member twice",              "POST", &[TOKEN, SESSION], r#"{"id":7,"id":8,"method":"ping"}"#, "400 -32600"),
    ("not declared as JSON",        "POST", &[TOKEN, SESSION, "content-type: text/plain"], LIST, "415 -32600"),
    ("accepts no stream",           "POST", &[TOKEN, SESSION, "accept: application/json"], LIST, "406 -32600"),
    ("GET accepts no stream",       "GET", &[TOKEN, SESSION, "accept: application/json"], "", "406 -32600"),
    ("a method without a meaning",  "PUT", &[TOKEN, SESSION], LIST, "405 -32600"),
];

/// The era without sessions, from 2026-07-28 on.
#[rustfmt::skip]
const STANDING_ALONE: &[Row] = &[
    ("a call",                      "POST", &[TOKEN, MODERN, LISTS], NEW_LIST, "200 result"),
    ("a call by query",             "POST ?token={token}", &[MODERN, LISTS], NEW_LIST, "200 result"),
    ("a stale session",             "POST", &[TOKEN, MODERN, LISTS, "mcp-session-id: x"], NEW_LIST, "200 result"),
    ("discovery",                   "POST", &[TOKEN, MODERN, "mcp-method: server/discover"], DISCOVER, "200 result"),
    ("no version in the header",    "POST", &[TOKEN, LISTS], NEW_LIST, "400 -32020"),
    ("another method in the header", "POST", &[TOKEN, MODERN, "mcp-method: tools/call"], NEW_LIST, "400 -32020"),
    ("no _meta",                    "POST", &[TOKEN, MODERN, LISTS], LIST, "400 -32602"),
    ("a version to come",           "POST", &[TOKEN, "mcp-protocol-version: 2099-01-01", LISTS], FUTURE_LIST, "400 -32022"),
    ("initialize, which is gone",   "POST", &[TOKEN, MODERN, "mcp-method: initialize"], NEW_INITIALIZE, "404 -32601"),
    ("GET, which is gone",          "GET", &[TOKEN, MODERN], "", "405 -32600"),
    ("DELETE, which is gone",       "DELETE", &[TOKEN, MODERN, SESSION], "", "405 -32600"),
    ("no JSON",                     "POST", &[TOKEN, MODERN, LISTS], "{", "400 -32700"),
];

/// A workspace whose protocol is `legacy`: newer clients are told which versions there are, and fall back.
#[rustfmt::skip]
const LEGACY_ONLY: &[Row] = &[
    ("a call of 2026-07-28",        "POST", &[TOKEN, MODERN, LISTS], NEW_LIST, "400 -32022"),
    ("discovery",                   "POST", &[TOKEN, MODERN, "mcp-method: server/discover"], DISCOVER, "400 -32022"),
    ("discovery of no version",     "POST", &[TOKEN], r#"{"jsonrpc":"2.0","id":7,"method":"server/discover"}"#, "400 -32022"),
    ("2026-07-28 in _meta alone",   "POST", &[TOKEN], NEW_LIST, "400 -32022"),
    ("initialize of 2026-07-28",    "POST", &[TOKEN, MODERN, "mcp-method: initialize"], NEW_INITIALIZE, "400 -32022"),
    ("initialize, unreadable",      "POST", &[TOKEN], UNREADABLE, "400 -32602"),
    ("the fallback",                "POST", &[TOKEN], INITIALIZE, "200 result"),
    ("a call in a session",         "POST", &[TOKEN, SESSION, LEGACY], LIST, "200 result"),
    ("a dead token",                "POST", &["authorization: Bearer {dead}", MODERN, LISTS], NEW_LIST, "401 -32001 invalid_token"),
];

#[test]
fn every_refusal_is_the_one_of_the_table() {
    let wire = Wire::new();
    wire.check(CREDENTIALS);
    wire.check(SESSIONS);
    wire.check(STANDING_ALONE);
    let unknown = SESSIONS.iter().filter(|row| row.4.starts_with("404"));
    let mut bodies: Vec<_> = unknown.map(|row| wire.send(row).body).collect();
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "one answer to every unknown session");
    let unreadable = wire.send(&("", "POST", &[TOKEN], UNREADABLE, ""));
    assert!(
        unreadable.body.contains("clientInfo is missing"),
        "{unreadable:?}"
    );
    assert!(unreadable.body.contains(r#""id":7"#), "{unreadable:?}");
    let log = wire.world.server.log();
    for (name, secret) in wire.secrets() {
        assert!(!log.contains(&secret[secret.len() - 16..]), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_of_the_older_era_sends_newer_clients_back() {
    let mut wire = Wire::new();
    wire.world.set(json!({ "protocol": "legacy" })).await;
    // The sessions of before are gone.
    wire.open_sessions();
    wire.check(LEGACY_ONLY);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_both_eras_hear_of_a_task_and_only_sessions_are_pushed_to() {
    let world = World::new();
    let legacy = world.agent(Era::Legacy).await;
    let mut stream = legacy.listen().await;
    let modern = world.agent(Era::Modern).await;
    // The newer era has no stream for a server's own messages, and this server offers none of the others.
    let params = json!({ "notifications": { "toolsListChanged": true } });
    let refused = modern.request(7, "subscriptions/listen", params).await;
    assert_eq!(refused.status(), 404);
    assert_eq!(answer(refused).await["error"]["code"], -32601);
    let waiting = {
        let modern = modern.clone();
        tokio::spawn(async move { modern.text("getTask", json!({ "waitSeconds": 50 })).await })
    };
    let task = world.add_task(&world.acme, "for both");
    let pushed = stream.soon().await.expect("a message");
    assert_eq!(pushed["params"]["meta"]["chat_id"], *task);
    assert!(waiting.await.unwrap().contains(&task));
}

/// A server that logs all it can, and what the placeholders of the tables stand for.
struct Wire {
    world: World,
    words: BTreeMap<&'static str, String>,
}

impl Wire {
    fn new() -> Self {
        let home = Home::new().with_variable("WST_LOG", "trace");
        let server = home.serve();
        let acme = home.create_workspace("acme");
        let other = home.create_workspace("other").secret;
        let second = [
            "token",
            "create",
            "--workspace",
            &acme.id,
            "--name",
            "second",
        ];
        let second = text(&home.json(&second)["secret"]);
        let world = World { home, server, acme };
        let dead = world.acme.secret.clone();
        let words = BTreeMap::from([
            ("host", world.server.address().to_owned()),
            ("token", text(&world.rotate()["secret"])),
            ("second", second),
            ("dead", dead),
            ("other", other),
        ]);
        let mut wire = Self { world, words };
        wire.open_sessions();
        wire
    }

    fn open_sessions(&mut self) {
        for (name, token) in [
            ("session", &[TOKEN]),
            ("ended", &[TOKEN]),
            ("theirs", &[SECOND]),
        ] {
            let opened = self.send(&("", "POST", token, INITIALIZE, ""));
            let session = field(&opened, "mcp-session-id").expect("a session");
            self.words.insert(name, session.to_owned());
        }
        let ended = self.send(&("", "DELETE", &[TOKEN, "mcp-session-id: {ended}"], "", ""));
        assert_eq!(ended.status, 202);
    }

    fn secrets(&self) -> impl Iterator<Item = (&&'static str, &String)> {
        self.words.iter().filter(|(name, _)| **name != "host")
    }

    fn check(&self, table: &[Row]) {
        for row in table {
            let answer = self.send(row);
            assert_eq!(seen(&answer), row.4, "{}: {answer:?}", row.0);
            let all = format!("{}{}", answer.head, answer.body);
            for (name, secret) in self.secrets() {
                assert!(!all.contains(secret), "{}: {name} is repeated", row.0);
            }
            if answer.status == 401 {
                let metadata = format!(
                    "resource_metadata=\"http://{}/.well-known/oauth-protected-resource/mcp/{}\"",
                    self.world.server.address(),
                    self.world.acme.id,
                );
                assert!(answer.head.contains(&metadata), "{}: {answer:?}", row.0);
            }
        }
    }

    fn send(&self, (_, request, headers, body, _): &Row) -> Answer {
        let (method, query) = request.split_once(' ').unwrap_or((request, ""));
        let common = [
            "accept: application/json, text/event-stream",
            "content-type: application/json",
        ];
        let has = |line: &str| {
            let name = line.split(':').next();
            headers
                .iter()
                .any(|header| header.split(':').next() == name)
        };
        let mut head = format!("{method} /mcp/{}{query} HTTP/1.1\r\n", self.world.acme.id);
        head += "host: {host}\r\nconnection: close\r\n";
        let common = common.iter().filter(|line| !has(line));
        for line in headers.iter().chain(common) {
            head += &format!("{line}\r\n");
        }
        for (name, word) in &self.words {
            head = head.replace(&format!("{{{name}}}"), word);
        }
        let length = body.len();
        let request = format!("{head}content-length: {length}\r\n\r\n{body}");
        self.world.server.send(&request)
    }
}

/// Returns what an answer is, in the words of the tables.
fn seen(answer: &Answer) -> String {
    let mut seen = answer.status.to_string();
    if answer.status == 200 {
        assert!(answer.body.contains(r#""jsonrpc":"2.0""#), "{answer:?}");
        return seen
            + if answer.body.contains(r#""result":"#) {
                " result"
            } else {
                " error"
            };
    }
    let body: Value = serde_json::from_str(&answer.body).expect("an error in JSON");
    assert_eq!(field(answer, "content-type"), Some("application/json"));
    assert_eq!(body["jsonrpc"], "2.0");
    assert!(body["id"].is_null() || body["id"] == 7, "{answer:?}");
    assert!(body["error"]["message"].is_string(), "{answer:?}");
    seen += &format!(" {}", body["error"]["code"]);
    if let Some(challenge) = field(answer, "www-authenticate") {
        let scheme = challenge.strip_prefix("Bearer ").expect("RFC 6750");
        let named = scheme.split_once(r#"error=""#);
        let error = named.and_then(|(_, rest)| rest.split('"').next());
        seen += &format!(" {}", error.unwrap_or("challenge"));
    }
    seen
}

fn field<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    let mut named = lines.filter(|(field, _)| field.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value)
}
