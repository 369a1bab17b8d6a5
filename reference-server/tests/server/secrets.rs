//! No token, and no 12-byte piece of one, gets into a file or a log.

use std::{collections::HashSet, fs, path::Path};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::Value;

use crate::{
    common::{Home, text},
    listening::Tls,
    memory::Users,
};

const PIECE: usize = 12;

/// Finds pieces of secrets.
#[derive(Default)]
pub(crate) struct Detector {
    pieces: HashSet<[u8; PIECE]>,
}

impl Detector {
    /// Looks for every piece of a token's payload and signature, and of what they say: the signature's bytes,
    /// and the secret among the claims. The header is public.
    pub(crate) fn watch_token(&mut self, token: &str) {
        let [payload, signature] = [1, 2].map(|part| token.split('.').nth(part).unwrap());
        let [claims, mac] = [payload, signature].map(|segment| {
            self.watch(segment.as_bytes());
            BASE64_URL_SAFE_NO_PAD.decode(segment).unwrap()
        });
        self.watch(&mac);
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        // Of a session the id, by which the server knows it.
        let secret = claims.get("jti").or(claims.get("sid")).unwrap();
        self.watch(secret.as_str().unwrap().as_bytes());
    }

    pub(crate) fn watch(&mut self, secret: &[u8]) {
        let pieces = secret.windows(PIECE);
        self.pieces
            .extend(pieces.map(|piece| <[u8; PIECE]>::try_from(piece).unwrap()));
    }

    pub(crate) fn finds_any_in(&self, bytes: &[u8]) -> bool {
        bytes
            .windows(PIECE)
            .any(|window| self.pieces.contains(window))
    }

    pub(crate) fn assert_clean(&self, path: &Path) {
        let bytes = fs::read(path).unwrap();
        assert!(!self.finds_any_in(&bytes), "{}", path.display());
    }
}

#[test]
fn no_piece_of_a_token_or_key_is_in_a_file_or_log_at_trace() {
    let home = Home::new().with_variable("WST_LOG", "trace");
    let server = home.serve();
    let mut detector = Detector::default();
    let workspace = home.create_workspace("acme");
    let id = workspace.id.as_str();
    detector.watch_token(&workspace.secret);
    let second = home.json(&["token", "create", "--workspace", id, "--name", "second"]);
    let second = text(&second["secret"]);
    detector.watch_token(&second);

    let own = format!("{id}.mcp.localhost");
    for token in [&workspace.secret, &second] {
        let bearer = format!("Bearer {token}");
        let body = format!("{{\"token\":\"{token}\"}}");
        for (method, target, headers) in [
            (
                "POST",
                format!("/mcp/{id}"),
                vec![("authorization", bearer.as_str())],
            ),
            (
                "GET",
                format!("/mcp/{id}"),
                vec![("authorization", &bearer), ("accept", "text/event-stream")],
            ),
            ("POST", format!("/mcp/{id}?token={token}"), vec![]),
            ("POST", format!("/mcp/{id}?%74oken={token}"), vec![]),
            (
                "POST",
                format!("/mcp/{id}?token={token}&token={token}"),
                vec![],
            ),
            ("POST", format!("/mcp/{id}?other={token}"), vec![]),
            ("POST", format!("/mcp/{token}"), vec![]),
            (
                "POST",
                format!("/{token}"),
                vec![("authorization", &bearer)],
            ),
            (
                "POST",
                "/mcp".to_owned(),
                vec![("host", &own), ("authorization", &bearer)],
            ),
            (
                "POST",
                "/mcp".to_owned(),
                vec![("host", "evil.example"), ("authorization", &bearer)],
            ),
            (
                "POST",
                "/mcp".to_owned(),
                vec![("host", token), ("authorization", &bearer)],
            ),
            ("POST", format!("/mcp/{id}"), vec![("authorization", token)]),
            (
                "POST",
                format!("/mcp/{id}"),
                vec![("x-other", &bearer), ("cookie", token)],
            ),
            (
                "POST",
                format!("/mcp/{id}"),
                vec![("mcp-session-id", token), ("authorization", &bearer)],
            ),
            (
                "POST",
                format!("/mcp/{id}"),
                vec![("origin", &bearer), ("authorization", &bearer)],
            ),
            (&token[..60], format!("/mcp/{id}"), vec![]),
            (
                "GET",
                format!("/.well-known/oauth-protected-resource/mcp/{id}?token={token}"),
                vec![],
            ),
            ("GET", format!("/.well-known/{token}"), vec![]),
            ("POST", format!("/register?token={token}"), vec![]),
            (
                "GET",
                format!("/readyz?token={token}"),
                vec![("authorization", &bearer)],
            ),
        ] {
            let mut headers = headers;
            let length = body.len().to_string();
            headers.push(("content-length", &length));
            headers.push(("content-type", "application/json"));
            let answer = send_with_body(&server, method, &target, &headers, &body);
            assert!(
                !detector.finds_any_in(answer.as_bytes()),
                "{method} {target}: {answer}"
            );
        }
        home.run_with_input(&["token", "inspect", "-"], token);
    }
    for _ in 0..3 {
        let rotated = home.json(&["token", "rotate", "--workspace", id]);
        let secret = text(&rotated["secret"]);
        detector.watch_token(&secret);
        server.admits(id, &secret);
    }
    home.json(&[
        "task",
        "add",
        "--workspace",
        id,
        "--title",
        "T",
        "--body",
        "B",
    ]);
    home.json(&["token", "revoke", "--workspace", id, "--name", "second"]);
    // What last uses are written down with.
    home.json(&["token", "list", "--workspace", id]);
    for key in keys(&home) {
        detector.watch(key.as_bytes());
        detector.watch(&BASE64_STANDARD.decode(key).unwrap());
    }
    let log = server.log();
    assert!(
        log.contains("answered status=401") && log.contains("path=\"/mcp/"),
        "the log is at work: {log}"
    );

    for entry in fs::read_dir(home.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !["control.sock", "workspaces.keys"].contains(&name) {
            detector.assert_clean(&path);
        }
    }
    assert!(!detector.finds_any_in(log.as_bytes()), "{log}");
    drop(server);
    detector.assert_clean(&home.path("log"));
    detector.assert_clean(&home.database());
    // The detector finds what is there.
    assert!(detector.finds_any_in(&fs::read(home.key_file()).unwrap()));
    assert!(detector.finds_any_in(format!("log line {}", &workspace.secret[100..113]).as_bytes()));
}

/// All crates at their wordiest: HTTP in both versions, TLS and MCP, with sessions; and besides the log what is
/// counted, kept and written.
#[test]
fn no_piece_of_a_token_session_or_link_is_in_any_crates_log_metric_backup_or_file() {
    const WORDY: &str = "trace,wst=trace,hyper=trace,hyper_util=trace,h2=trace,rustls=trace,tokio_rustls=trace,rmcp=trace,tower=trace,tower_http=trace,axum=trace,rusqlite=trace,mio=trace,tokio=trace,governor=trace";
    let tls = Tls::new();
    let server = tls.serve(&[
        "--log",
        WORDY,
        "--admin-listen",
        "127.0.0.1:0",
        "--public-url",
        "https://wst.test",
    ]);
    let home = &tls.home;
    let workspace = home.create_workspace("acme");
    let users = Users {
        connect: Box::new(|protocol| {
            Box::new(tls.connect(&server, "wst.test", &[protocol]).unwrap())
        }),
        host: "wst.test",
        workspace: &workspace,
    };
    let mut detector = Detector::default();
    let mut sessions = 0;
    for number in 0..8 {
        let name = format!("t{number}");
        let created = home.json(&[
            "token",
            "create",
            "--workspace",
            &workspace.id,
            "--name",
            &name,
        ]);
        let token = text(&created["secret"]);
        detector.watch_token(&token);
        if let Some(session) = users.use_token(number, &token) {
            detector.watch_token(&session);
            sessions += 1;
        }
    }
    assert_eq!(sessions, 2);
    for arguments in [
        &["user", "add", "grace"][..],
        &["user", "login-link", "grace"],
    ] {
        let link = text(&home.json(arguments)["link"]);
        let (_, secret) = link.split_once('#').unwrap();
        detector.watch(secret.as_bytes());
    }
    for key in keys(home) {
        detector.watch(key.as_bytes());
        detector.watch(&BASE64_STANDARD.decode(key).unwrap());
    }
    home.json(&[
        "token",
        "rotate",
        "--workspace",
        &workspace.id,
        "--name",
        "t0",
    ]);
    home.json(&["token", "list", "--workspace", &workspace.id]);
    let backup = home.path("all.wst");
    home.json(&["backup", backup.to_str().unwrap()]);
    detector.assert_clean(&backup);
    for (what, said) in [
        ("metrics", server.metrics()),
        ("health", home.run(&["health"]).stdout),
        ("audit", home.run(&["audit", "tail"]).stdout),
    ] {
        assert!(!said.is_empty(), "{what}");
        assert!(!detector.finds_any_in(said.as_bytes()), "{what}: {said}");
    }
    for entry in fs::read_dir(home.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !["control.sock", "workspaces.keys"].contains(&name) {
            detector.assert_clean(&path);
        }
    }
    let log = server.log();
    for said in ["DEBUG", "answered status=200"] {
        assert!(log.contains(said), "the log is at work: {log}");
    }
    assert!(!detector.finds_any_in(log.as_bytes()), "{log}");
    // Stopped, it has written all that it writes.
    drop(users);
    server.stop(rustix::process::Signal::TERM);
    detector.assert_clean(&home.path("log"));
    detector.assert_clean(&home.database());
}

fn send_with_body(
    server: &crate::common::Server,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> String {
    let mut request = format!("{method} {target} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        request.push_str(&format!("host: {}\r\n", server.address()));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let answer = server.send(&format!("{request}\r\n{body}"));
    format!("{}\r\n\r\n{}", answer.head, answer.body)
}

pub(crate) fn keys(home: &Home) -> Vec<String> {
    let text = fs::read_to_string(home.key_file()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().to_owned())
        .collect()
}
