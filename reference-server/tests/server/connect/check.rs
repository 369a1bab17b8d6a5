//! What `--check` finds wrong, and to whom it sends nothing.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
};

use serde_json::{Value, json};

use super::{CLOSED, Project, TOKEN, VARIABLE};
use crate::{
    common::{Done, fields, lacks_a_tree, text},
    listening::Tls,
};

#[test]
fn a_setup_that_works_passes_the_check_and_a_dead_token_fails_it() {
    let project = Project::new();
    let server = project.home.serve();
    let workspace = project.home.create_workspace("demo");
    for client in [
        "claude-code",
        "gemini",
        "codex",
        "opencode",
        "cursor",
        "windsurf",
    ] {
        project.run(&[client, "--write"]);
        let (code, checked) = project.check(client, Some(&workspace.secret));
        assert_eq!(code, 0, "{checked}");
        assert_eq!(
            fields(&checked),
            ["client", "entries", "file", "ok", "problems"]
        );
        let entry = json!({
            "name": format!("agentrq-{}", workspace.id),
            "mcp_url": workspace.mcp_url,
            "variable": VARIABLE,
            "connected": true,
        });
        assert_eq!(checked["entries"], json!([entry]));
    }
    // VS Code keeps what was typed; a variable tells the check what that was.
    project.run(&["vscode", "--write"]);
    let (code, checked) = project.check("vscode", None);
    assert_eq!(
        (code, &checked["entries"][0]["connected"]),
        (0, &Value::Null)
    );

    // One that speaks the older protocol alone does not know the question, and takes the token all the same.
    drop(server);
    let database = rusqlite::Connection::open(project.home.database()).unwrap();
    let changed = database.execute("UPDATE workspaces SET protocol = 'legacy'", []);
    assert_eq!(changed.unwrap(), 1);
    drop(database);
    let server = project
        .home
        .serve_alone(&["--listen", workspace.mcp_url.split('/').nth(2).unwrap()]);
    assert!(
        project
            .problems("codex", Some(&workspace.secret))
            .is_empty()
    );

    let rotated = project
        .home
        .json(&["token", "rotate", "--workspace", "demo"]);
    let (old, new) = (workspace.secret.as_str(), text(&rotated["secret"]));
    assert_eq!(project.problems("claude-code", Some(old)), ["dead_token"]);
    assert!(project.problems("claude-code", Some(&new)).is_empty());
    drop(server);
    assert_eq!(project.problems("claude-code", Some(&new)), ["unreachable"]);
}

#[test]
fn finds_what_is_wrong_with_the_variable() {
    let project = Project::new();
    let _server = project.home.serve();
    let workspace = project.home.create_workspace("demo");
    let other = project.home.create_workspace("other");
    let arguments = ["claude-code", "--workspace", "demo", "--write"];
    assert_eq!(project.run(&arguments).code, 0);
    for (value, expected) in [
        (None, "variable_unset"),
        (Some(""), "variable_empty"),
        (Some("${WORKSPACE_TOKEN_DEMO}"), "variable_placeholder"),
        (Some("…the token…"), "variable_placeholder"),
        (Some("hunter2"), "not_a_token"),
        (Some(&format!("\"{}\"", workspace.secret)), "not_a_token"),
        (Some(&*other.secret), "other_workspace"),
        (Some(TOKEN), "other_workspace"),
    ] {
        assert_eq!(project.problems("claude-code", value), [expected]);
    }
    project.put(
        ".env",
        &format!("WORKSPACE_TOKEN_DEMO={}\n", workspace.secret),
    );
    let (_, checked) = project.check("claude-code", None);
    let todo = text(&checked["problems"][0]["todo"]);
    assert!(todo.contains("set -a; . ./.env; set +a"), "{todo}");
}

#[test]
fn finds_a_token_in_the_file_and_does_not_print_it() {
    let header = |value: &str| {
        let entry = json!({"type": "http", "url": CLOSED, "headers": {"Authorization": value}});
        json!({"mcpServers": {"agentrq-abcdefghijk": entry}}).to_string()
    };
    let with_default = format!("Bearer ${{WORKSPACE_TOKEN_DEMO:-{TOKEN}}}");
    let query =
        json!({"mcpServers": {"x": {"type": "http", "url": format!("{CLOSED}?token={TOKEN}")}}});
    let elsewhere = json!({"mcpServers": {"x": {"env": {"T": TOKEN}}}});
    for (client, file, content) in [
        (
            "claude-code",
            ".mcp.json",
            header(&format!("Bearer {TOKEN}")),
        ),
        ("claude-code", ".mcp.json", header(&with_default)),
        ("claude-code", ".mcp.json", header("Bearer hunter2-hunter2")),
        ("claude-code", ".mcp.json", query.to_string()),
        ("claude-code", ".mcp.json", elsewhere.to_string()),
        (
            "codex",
            ".codex/config.toml",
            format!(
                "[mcp_servers.x]\nurl = \"{CLOSED}\"\nhttp_headers = {{ Authorization = \"Bearer {TOKEN}\" }}\n"
            ),
        ),
        (
            "codex",
            ".codex/config.toml",
            format!("[mcp_servers.x]\nurl = \"{CLOSED}\"\nbearer_token_env_var = \"{TOKEN}\"\n"),
        ),
        (
            "vscode",
            ".vscode/mcp.json",
            format!("{{\"servers\": {{}}}} // {TOKEN}"),
        ),
    ] {
        let project = Project::new();
        project.put(file, &content);
        let done = project.run(&[client, "--check"]);
        assert_eq!(done.code, 1, "{content}");
        let said = done.stdout.clone() + &done.stderr;
        assert!(said.contains("holds a token itself"), "{content}: {said}");
        assert!(!said.contains("eyJ") && !said.contains("hunter2"), "{said}");
        let problems = project.problems(client, None);
        let count = problems
            .iter()
            .filter(|code| *code == "literal_token")
            .count();
        assert_eq!(count, 1, "{problems:?}");
        assert!(!problems.contains(&"tracked_secret".to_owned()));
        if !project.git(&["init", "-q"]) {
            println!("skipped: what git tracks: git is not installed");
            continue;
        }
        assert!(project.git(&["add", "-f", "."]));
        let problems = project.problems(client, None);
        assert!(
            problems.contains(&"tracked_secret".to_owned()),
            "{problems:?}"
        );
    }
}

#[test]
fn finds_files_of_variables_that_git_tracks_or_would_take() {
    let project = Project::new();
    if !project.git(&["init", "-q"]) {
        println!("skipped: git is not installed");
        return;
    }
    let arguments = ["vscode", "--url", CLOSED, "--write"];
    assert_eq!(project.run(&arguments).code, 0);
    project.put(".env", &format!("WORKSPACE_TOKEN_DEMO={TOKEN}\n"));
    let of_git = || {
        let mut problems = project.problems("vscode", None);
        problems.retain(|code| code != "unreachable");
        problems
    };
    assert!(of_git().is_empty());
    fs::remove_file(project.path(".gitignore")).unwrap();
    assert_eq!(of_git(), ["not_ignored"]);
    assert!(project.git(&["add", "-f", ".env"]));
    assert_eq!(of_git(), ["tracked_secret"]);
    assert!(project.git(&["rm", "-q", "--cached", ".env"]));
    // One without a token may be anybody's.
    project.put(".env.production", "PORT=80\n");
    assert!(project.git(&["add", "-f", ".env.production"]));
    assert_eq!(of_git(), ["not_ignored"]);
    project.put(".env.production", &format!("T={TOKEN}\n"));
    assert_eq!(of_git(), ["tracked_secret", "not_ignored"]);
    project.put(".env.example", &format!("T={TOKEN}\n"));
    assert_eq!(of_git(), ["tracked_secret", "literal_token", "not_ignored"]);
}

#[test]
fn finds_a_configuration_that_another_client_would_understand() {
    let project = Project::new();
    for (client, file, content, expected) in [
        (
            "opencode",
            "opencode.json",
            json!({"mcp": {"x": {
                "type": "remote", "url": CLOSED, "headers": {"Authorization": "Bearer ${WORKSPACE_TOKEN_DEMO}"},
            }}}),
            "wrong_reference",
        ),
        (
            "gemini",
            ".gemini/settings.json",
            json!({"mcpServers": {"agentrq-abcdefghijk": {
                "url": CLOSED, "headers": {"Authorization": "Bearer ${WORKSPACE_TOKEN_DEMO}"},
            }}}),
            "wrong_url",
        ),
        (
            "cursor",
            ".cursor/mcp.json",
            json!({"mcpServers": {"x": {"url": CLOSED}}}),
            "no_credential",
        ),
        (
            "vscode",
            ".vscode/mcp.json",
            json!({"mcpServers": {"x": {"url": CLOSED}}}),
            "entry_missing",
        ),
        (
            "claude-code",
            ".mcp.json",
            json!({"mcpServers": {"agentrq-abcdefghijk": {
                "url": "https://e.com/", "headers": {"Authorization": "Bearer ${WORKSPACE_TOKEN_DEMO}"},
            }}}),
            "wrong_url",
        ),
    ] {
        assert_eq!(project.problems(client, None), ["file_missing"]);
        project.put(file, &content.to_string());
        let problems = project.problems(client, None);
        assert!(
            problems.contains(&expected.to_owned()),
            "{client}: {problems:?}"
        );
    }
    project.put(".mcp.json", "{");
    assert_eq!(project.problems("claude-code", None), ["file_invalid"]);
}

#[test]
fn finds_an_address_that_is_not_the_workspaces() {
    let project = Project::new();
    let server = project.home.serve();
    let workspace = project.home.create_workspace("demo");
    let elsewhere = format!("http://127.0.0.1:1/mcp/{}", workspace.id);
    let write = [
        "claude-code",
        "--url",
        &elsewhere,
        "--variable",
        VARIABLE,
        "--write",
    ];
    assert_eq!(project.run(&write).code, 0);
    let check = ["claude-code", "--check", "--workspace", "demo"];
    let done = project.run(&check);
    assert_eq!(done.code, 1);
    assert!(
        done.stdout
            .contains(&format!("and the workspace is at {}", workspace.mcp_url)),
        "{}",
        done.stdout
    );
    // No MCP is spoken there.
    let address = server.address().to_owned();
    let wrong = format!("http://{address}/mcp/{}/x", workspace.id);
    project.put(
        ".mcp.json",
        &json!({"mcpServers": {"agentrq-x": {"url": wrong}}}).to_string(),
    );
    assert!(
        project
            .problems("claude-code", None)
            .contains(&"wrong_url".to_owned())
    );
    let unknown = project.run(&["claude-code", "--check", "--workspace", "nobody"]);
    assert!(
        unknown.stderr.contains("there is no such workspace"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn a_token_goes_neither_along_a_redirect_nor_over_the_network_in_the_clear() {
    let project = Project::new();
    let (target, next) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    next.set_nonblocking(true).unwrap();
    let location = format!("http://{}/mcp/abcdefghijk", next.local_addr().unwrap());
    let port = target.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        // One request of each check, in which the second must not hold the token.
        [true, false].map(|_| {
            let (mut stream, _) = target.accept().unwrap();
            let mut request = Vec::new();
            let mut part = [0; 4096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let length = stream.read(&mut part).unwrap();
                request.extend_from_slice(&part[..length]);
            }
            let head =
                format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            String::from_utf8_lossy(&request)
                .to_lowercase()
                .contains("authorization")
        })
    });
    let token = token_for("abcdefghijk");
    // Linux takes the second for this machine as well, and nobody could know that by looking at it.
    for (host, expected) in [
        ("127.0.0.1", &["wrong_url"][..]),
        ("0.0.0.0", &["in_the_clear", "wrong_url"]),
    ] {
        let url = format!("http://{host}:{port}/mcp/abcdefghijk");
        let done = project.run(&["codex", "--url", &url, "--variable", VARIABLE, "--write"]);
        assert_eq!(
            done.stderr.contains("everybody on the way"),
            host == "0.0.0.0"
        );
        assert_eq!(project.problems("codex", Some(&token)), expected);
        fs::remove_dir_all(project.path(".codex")).unwrap();
    }
    assert_eq!(server.join().unwrap(), [true, false]);
    assert!(next.accept().is_err(), "the redirect was followed");
}

#[test]
fn nothing_is_sent_but_a_token_of_the_very_workspace() {
    let project = Project::new();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp/abcdefghijk", target.local_addr().unwrap());
    let done = project.run(&["codex", "--url", &url, "--variable", VARIABLE, "--write"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let foreign_header =
        token_for("abcdefghijk").replacen("eyJhbGciOiJIUzI1NiIs", "eyJhbGciOiJSUzI1NiIs", 1);
    let cases = [
        // The last one shows that what is sent is counted.
        (jwt_of(json!({"aud": "abcdefghijk"})), "not_a_token", 0),
        (foreign_header, "not_a_token", 0),
        (token_for("other"), "other_workspace", 0),
        (token_for("abcdefghijk"), "dead_token", 1),
    ];
    let requests = cases.len();
    let server = std::thread::spawn(move || {
        let mut credentials = Vec::new();
        for _ in 0..requests {
            let (mut stream, _) = target.accept().unwrap();
            let mut request = Vec::new();
            let mut part = [0; 4096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let length = stream.read(&mut part).unwrap();
                request.extend_from_slice(&part[..length]);
            }
            stream
                .write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
            let request = String::from_utf8_lossy(&request).to_lowercase();
            credentials.push(request.matches("authorization").count());
        }
        credentials
    });
    for (token, expected, _) in &cases {
        assert_eq!(project.problems("codex", Some(token)), [*expected]);
    }
    let expected: Vec<usize> = cases.iter().map(|case| case.2).collect();
    assert_eq!(server.join().unwrap(), expected);
}

#[test]
fn a_repository_chooses_no_program_and_no_command() {
    let project = Project::new();
    if !project.git(&["init", "-q"]) {
        println!("skipped: git is not installed");
        return;
    }
    assert_eq!(project.run(&["vscode", "--url", CLOSED, "--write"]).code, 0);
    project.put(".env", "A=1\n");
    let marker = project.home.path("ran");
    lacks_a_tree(&project.path(""), &marker);
    project.problems("vscode", None);
    assert!(!marker.exists());
    // The very question that is asked would run it.
    project.git(&["ls-files", "--", ".env"]);
    if !marker.exists() {
        println!("skipped: this git fetches nothing to read an index");
    }

    // Nor does a name of a file come to stand in a command.
    let project = Project::new();
    assert!(project.git(&["init", "-q"]));
    assert_eq!(project.run(&["vscode", "--url", CLOSED, "--write"]).code, 0);
    let name = ".env.x;touch ran";
    project.put(name, &format!("T={TOKEN}\n"));
    assert!(project.git(&["add", "-f", name]));
    let (_, checked) = project.check("vscode", None);
    let problems = checked["problems"].as_array().unwrap().iter();
    let tracked: Vec<&Value> = problems
        .filter(|problem| problem["code"] == "tracked_secret")
        .collect();
    assert_eq!(tracked.len(), 1, "{checked}");
    assert!(!text(&tracked[0]["todo"]).contains("touch"), "{checked}");
}

#[test]
fn over_https_the_certificate_is_looked_at_before_the_token_is_sent() {
    let tls = Tls::new();
    tls.issue(&["localhost"]);
    let server = tls.serve(&["--public-url", "https://localhost"]);
    let workspace = tls.home.create_workspace("demo");
    fs::create_dir(tls.home.path("project")).unwrap();
    let url = format!("https://localhost:{}/mcp/{}", server.port(), workspace.id);
    let connect = |more: &[&str], trusted: &str| {
        let arguments = ["connect", "codex", "--url", &url, "--dir", "project"];
        let mut command = tls.home.command(&[&arguments[..], more].concat());
        command
            .env("SSL_CERT_FILE", tls.home.path(trusted))
            .env("SSL_CERT_DIR", tls.home.path("none"))
            .env("WORKSPACE_TOKEN_DEMO", &workspace.secret);
        Done::of(command)
    };
    let written = connect(&["--variable", VARIABLE, "--write"], "ca.pem");
    assert_eq!(written.code, 0, "{}", written.stderr);
    tls.write("ca.pem", &tls.authority_pem(), 0o644);
    let checked = connect(&["--check"], "ca.pem");
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    let other = Tls::new();
    tls.write("other.pem", &other.authority_pem(), 0o644);
    let checked = connect(&["--check"], "other.pem");
    assert_eq!(checked.code, 1);
    assert!(checked.stdout.contains("certificate"), "{}", checked.stdout);
}

/// Makes what looks like a token of a workspace.
fn token_for(workspace: &str) -> String {
    let claims = json!({"aud": workspace, "gen": 1, "iat": 1, "jti": "AAAAAAAAAAAAAAAAAAAAAA", "sub": "primary"});
    jwt_of(claims)
}

/// Puts claims between the header and the signature of [`TOKEN`].
fn jwt_of(claims: Value) -> String {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
    let claims = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    let parts: Vec<&str> = TOKEN.split('.').collect();
    format!("{}.{claims}.{}", parts[0], parts[2])
}
