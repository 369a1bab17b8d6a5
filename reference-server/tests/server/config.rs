//! Options: where they come from, and which are refused.

use std::fs;

use crate::common::{Home, Server};

fn create_and_show_url(home: &Home) -> String {
    let url = home.create_workspace("acme").mcp_url;
    // So that the next one may have its name.
    home.json(&["workspace", "archive", "acme"]);
    url
}

#[test]
fn an_unknown_key_of_the_file_is_an_error() {
    let home = Home::new();
    fs::write(
        home.path("wst.toml"),
        "listen = \"127.0.0.1:0\"\nlisten_on = 1\n",
    )
    .unwrap();
    let done = home.serve_in_vain(&["--config", "wst.toml"]);
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("listen_on"), "{}", done.stderr);
    assert!(!home.data_dir().exists());
}

#[test]
fn bad_values_are_errors_of_usage() {
    let home = Home::new();
    for (name, value) in [
        ("--listen", "nowhere"),
        ("--listen", "127.0.0.1:99999"),
        ("--public-url", "example.com"),
        ("--public-url", "https://example.com/path"),
        ("--public-url", "https://user@example.com"),
        ("--mcp-domain", "mcp.example.com:80"),
        ("--mcp-domain", ""),
        ("--database", "mysql://user:hunter2@db/wst"),
        ("--max-connections", "0"),
        ("--connections-per-source", "0"),
        ("--calls-per-token", "many"),
        ("--failed-tokens-per-minute", "-1"),
        ("--access-token-life", "59"),
        ("--log", "wst=loud"),
        ("--config", "missing.toml"),
        ("--no-such-option", "x"),
    ] {
        let done = home.serve_in_vain_alone(&[name, value]);
        assert_eq!(done.code, 2, "{name} {value}: {}", done.stderr);
        assert!(!done.stderr.contains("hunter2"));
        assert!(!home.data_dir().exists(), "{name} {value}");
    }
}

#[test]
fn bad_values_of_variables_and_files_are_errors_of_usage_too() {
    for (name, value) in [
        ("WST_PUBLIC_URL", "example.com"),
        ("WST_LISTEN", "nowhere"),
        ("WST_DATABASE", "mysql://user:hunter2@db/wst"),
    ] {
        let home = Home::new().with_variable(name, value);
        let done = home.serve_in_vain_alone(&[]);
        assert_eq!(done.code, 2, "{name}");
        assert!(!done.stderr.contains("hunter2"));
    }
    for line in [
        "public_url = \"example.com\"",
        "listen = 8080",
        "max_connections = 0",
        "calls_per_token = \"1\"",
        "failed_tokens_per_minute = -1",
        "access_token_life = 3601",
        "access_token_life = \"900\"",
        "log = \"=x=\"",
        "not toml",
        "database = \"postgres://user:hunter2@db/wst\" x",
    ] {
        let home = Home::new();
        fs::write(home.path("wst.toml"), line).unwrap();
        let done = home.serve_in_vain_alone(&["--config", "wst.toml"]);
        assert_eq!(done.code, 2, "{line}: {}", done.stderr);
        assert!(!done.stderr.contains("hunter2"), "{}", done.stderr);
    }
}

#[test]
fn help_shows_no_value_that_may_hold_a_password() {
    let home = Home::new().with_variable("WST_DATABASE", "postgres://user:hunter2@db/wst");
    let done = home.run(&["serve", "--help"]);
    assert!(done.stdout.contains("WST_DATABASE"));
    assert!(!done.stdout.contains("hunter2"), "{}", done.stdout);
}

#[test]
fn arguments_go_before_variables_and_variables_before_the_file() {
    let home = Home::new().with_variable("WST_CONFIG", "wst.toml");
    fs::write(
        home.path("wst.toml"),
        "public_url = \"https://file.example\"\n",
    )
    .unwrap();
    let server = home.serve();
    assert!(create_and_show_url(&home).starts_with("https://file.example/mcp/"));
    drop(server);
    let home = home.with_variable("WST_PUBLIC_URL", "https://variable.example");
    let server = home.serve();
    assert!(create_and_show_url(&home).starts_with("https://variable.example/mcp/"));
    drop(server);
    let server = home.serve_with(&["--public-url", "https://argument.example"]);
    assert!(create_and_show_url(&home).starts_with("https://argument.example/mcp/"));
    drop(server);
}

#[test]
fn a_command_without_a_server_shows_the_last_servers_addresses() {
    let home = Home::new();
    drop(home.serve_with(&["--public-url", "https://example.com"]));
    assert!(create_and_show_url(&home).starts_with("https://example.com/mcp/"));
    drop(home.serve_with(&["--mcp-domain", "mcp.localhost"]));
    let url = create_and_show_url(&home);
    assert!(
        url.contains(".mcp.localhost:") && url.ends_with("/mcp"),
        "{url}"
    );
}

#[test]
fn the_url_that_is_shown_is_answered_for() {
    let home = Home::new();
    let arguments: [&[&str]; 3] = [
        &[],
        &["--mcp-domain", "mcp.localhost"],
        &["--public-url", "http://wst.example"],
    ];
    for (number, arguments) in arguments.into_iter().enumerate() {
        let server = home.serve_with(arguments);
        let workspace = home.create_workspace(&format!("acme {number}"));
        assert_ne!(
            status_at(&server, &workspace.mcp_url, &workspace.secret),
            400
        );
        assert_ne!(
            status_at(&server, &workspace.mcp_url, &workspace.secret),
            401
        );
    }
}

fn status_at(server: &Server, url: &str, token: &str) -> u16 {
    let (host, path) = url
        .strip_prefix("http://")
        .unwrap()
        .split_once('/')
        .unwrap();
    let bearer = format!("Bearer {token}");
    let headers = [("host", host), ("authorization", &bearer)];
    server.ask("POST", &format!("/{path}"), &headers).status
}
