//! What the server says of itself to administrators, and where each option comes from.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

use serde_json::Value;

use crate::{
    common::{Home, text},
    secrets::{Detector, keys},
};

fn health(home: &Home) -> Value {
    let mut stream = UnixStream::connect(home.data_dir().join("control.sock")).unwrap();
    let request =
        "GET /api/v1/server/health HTTP/1.1\r\nhost: control\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).unwrap()
}

#[test]
fn says_what_it_runs_with_and_where_that_comes_from() {
    let home = Home::new()
        .with_variable("WST_CONFIG", "wst.toml")
        .with_variable("WST_MCP_DOMAIN", "mcp.example.com")
        .with_variable("WST_PUBLIC_URL", "https://elsewhere.example.com");
    let file = "public_url = \"https://file.example.com\"\nlog = \"warn\"\n";
    fs::write(home.path("wst.toml"), file).unwrap();
    let _server = home.serve_with(&["--public-url", "https://wst.example.com"]);
    let health = health(&home);
    let lines = health["configuration"].as_array().unwrap().iter();
    let lines: Vec<String> = lines
        .map(|line| {
            let [name, value, origin] = ["name", "value", "origin"].map(|field| text(&line[field]));
            format!("{name} {value} {origin}")
        })
        .collect();
    for expected in [
        "database sqlite default",
        "data_dir data default",
        "log warn file",
        "listen 127.0.0.1:0 command_line",
        "public_url https://wst.example.com command_line",
        "mcp_domain mcp.example.com variable",
        "key_file in the data directory default",
    ] {
        assert!(
            lines.iter().any(|line| line == expected),
            "{expected}: {lines:?}"
        );
    }
}

#[test]
fn says_how_the_database_the_keys_and_the_backups_are() {
    let home = Home::new();
    let _server = home.serve();
    let before = health(&home);
    assert_eq!(before["last_backup"], Value::Null);
    assert_eq!(text(&before["version"]), env!("CARGO_PKG_VERSION"));
    assert!(before["database"]["bytes"].as_u64().unwrap() > 4096);
    assert!(text(&before["database"]["path"]).ends_with("data/workspaces.db"));
    home.json(&["backup", "backup.wst"]);
    let rotated = home.json(&["key", "rotate"]);
    let after = health(&home);
    assert!(text(&after["last_backup"]["file"]).ends_with("/backup.wst"));
    assert_eq!(after["keys"]["signing"][0], rotated["keys"][0]["id"]);
    assert_eq!(after["keys"]["sealing"].as_array().unwrap().len(), 2);
    let mut detector = Detector::default();
    keys(&home)
        .iter()
        .for_each(|key| detector.watch(key.as_bytes()));
    assert!(!detector.finds_any_in(after.to_string().as_bytes()));
}
