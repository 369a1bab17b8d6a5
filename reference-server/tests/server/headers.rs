//! `wst headers`: the exchange as a client's helper does it, on a machine without a data directory.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    thread,
};

use serde_json::Value;

use crate::common::{Done, Home, Server, Workspace, text};

/// A laptop beside a server's machine.
struct Laptop {
    home: Home,
    server: Server,
    acme: Workspace,
    laptop: Home,
}

impl Laptop {
    fn new() -> Self {
        let home = Home::new();
        let server = home.serve();
        let acme = home.create_workspace("acme");
        let laptop = Home::new().with_variable("TOKEN_OF_ACME", &acme.secret);
        Self {
            home,
            server,
            acme,
            laptop,
        }
    }

    fn headers(&self, arguments: &[&str]) -> Done {
        let url = ["headers", "--url", &self.acme.mcp_url];
        self.laptop.run(&[&url[..], arguments].concat())
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.laptop.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Returns the access token that was printed, and nothing else was.
    fn access(&self, done: &Done) -> String {
        assert_eq!((done.code, done.stderr.as_str()), (0, ""));
        let json: Value = serde_json::from_str(&done.stdout).unwrap();
        assert_eq!(json.as_object().unwrap().len(), 1);
        let value = text(&json["Authorization"]);
        let access = value.strip_prefix("Bearer ").unwrap().to_owned();
        assert_ne!(access, self.acme.secret);
        assert!(self.server.admits(&self.acme.id, &access));
        access
    }

    /// Checks that a command failed with `code` and a sentence with `words`, and let nothing of the token out.
    fn failed(&self, done: &Done, code: i32, words: &str) {
        assert_eq!((done.code, done.stdout.as_str()), (code, ""), "{done:?}");
        assert!(done.stderr.contains(words), "{}", done.stderr);
        let payload = self.acme.secret.split('.').nth(1).unwrap();
        assert!(!done.stderr.contains(&payload[..12]), "{}", done.stderr);
        let signature = self.acme.secret.rsplit('.').next().unwrap();
        assert!(!done.stderr.contains(&signature[..12]), "{}", done.stderr);
    }
}

#[test]
fn prints_the_headers_and_leaves_nothing_behind() {
    let laptop = Laptop::new();
    let file = laptop.write("token", &format!("{}\n", laptop.acme.secret), 0o600);
    let before = fs::read_dir(laptop.laptop.path("")).unwrap().count();
    let command = format!("echo unlocked >&2; cat {file}; echo");
    for source in [
        ["--token-env", "TOKEN_OF_ACME"],
        ["--token-file", &file],
        ["--token-command", "printenv TOKEN_OF_ACME"],
    ] {
        laptop.access(&laptop.headers(&source));
        laptop.access(&laptop.headers(&[&source[..], &["--json"]].concat()));
    }
    // What the command says to people reaches them.
    let done = laptop.headers(&["--token-command", &command]);
    assert_eq!((done.code, done.stderr.as_str()), (0, "unlocked\n"));
    assert_eq!(
        fs::read_dir(laptop.laptop.path("")).unwrap().count(),
        before
    );
}

#[test]
fn the_url_may_come_from_a_variable_and_be_of_either_form() {
    let laptop = Laptop::new();
    let (id, port) = (&laptop.acme.id, laptop.server.port());
    for url in [
        laptop.acme.mcp_url.clone(),
        format!("{}/", laptop.acme.mcp_url),
        format!("http://{id}.mcp.localhost:{port}/mcp"),
        format!("http://{id}.mcp.localhost:{port}/"),
        format!("http://{id}.mcp.localhost:{port}"),
    ] {
        let place = Home::new()
            .with_variable("WST_MCP_URL", &url)
            .with_variable("TOKEN", &laptop.acme.secret);
        laptop.access(&place.run(&["headers", "--token-env", "TOKEN"]));
    }
}

#[test]
fn a_regenerated_token_is_told_from_a_wrong_address() {
    let laptop = Laptop::new();
    let source = ["--token-env", "TOKEN_OF_ACME"];
    let at = |url: &str| {
        let words = [&["headers", "--url", url], &source[..]].concat();
        laptop.laptop.run(&words)
    };
    let port = laptop.server.port();
    for path in ["", "/", "/login", "/mcp"] {
        let done = at(&format!("http://127.0.0.1:{port}{path}"));
        laptop.failed(&done, 2, "looks like https://HOST/mcp/ID");
    }
    laptop
        .home
        .json(&["token", "rotate", "--workspace", &laptop.acme.id]);
    let done = laptop.headers(&source);
    laptop.failed(&done, 1, "regenerated");
    assert!(
        done.stderr.contains("the variable TOKEN_OF_ACME"),
        "{}",
        done.stderr
    );
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    laptop.failed(
        &at(&format!("http://{nobody}/mcp/x")),
        1,
        "cannot be reached",
    );
}

#[test]
fn one_source_is_named_and_only_one() {
    let laptop = Laptop::new();
    for words in [
        &[][..],
        &["--token-env", "A", "--token-file", "b"],
        &["--token-env", "A", "--token-command", "b"],
        &["--token", "secret"],
        &["secret"],
    ] {
        let done = laptop.headers(words);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{words:?}");
    }
}

#[test]
fn what_is_no_token_goes_nowhere() {
    let laptop = Laptop::new();
    let nothing = laptop.write("nothing", " \n", 0o600);
    let two = laptop.write("two", "one two", 0o600);
    let long = laptop.write("long", &"x".repeat(5000), 0o600);
    let open = laptop.write("open", &laptop.acme.secret, 0o644);
    let group = laptop.write("group", &laptop.acme.secret, 0o640);
    for (source, code, words) in [
        (
            ["--token-env", "NOT_SET_HERE"],
            1,
            "NOT_SET_HERE is not set",
        ),
        (["--token-file", &nothing], 1, "is empty"),
        (["--token-file", &two], 1, "something else"),
        (["--token-file", &long], 1, "something else"),
        (["--token-file", &open], 1, "chmod 600"),
        (["--token-file", &group], 1, "chmod 600"),
        (["--token-file", "/nowhere/at/all"], 1, "cannot open"),
        (["--token-command", "true"], 1, "is empty"),
        (
            ["--token-command", "printf '${TOKEN}'"],
            1,
            "something else",
        ),
        (
            ["--token-command", "printenv TOKEN_OF_ACME; exit 3"],
            1,
            "failed",
        ),
        (["--token-command", "printf '\\377'"], 1, "no text"),
    ] {
        laptop.failed(&laptop.headers(&source), code, words);
    }
}

#[test]
fn the_token_travels_in_the_clear_on_this_machine_alone() {
    let laptop = Laptop::new();
    let source = ["--token-env", "TOKEN_OF_ACME"];
    for (url, words) in [
        ("http://workspaces.invalid/mcp/x", "https://"),
        ("workspaces.invalid/mcp/x", "as the workspace shows it"),
        ("https://u:p@workspaces.invalid/mcp/x", "without a token"),
        (
            "https://workspaces.invalid/mcp/x?token=a",
            "without a token",
        ),
        (
            "https://workspaces.invalid/",
            "looks like https://HOST/mcp/ID",
        ),
    ] {
        let done = laptop
            .laptop
            .run(&[&["headers", "--url", url], &source[..]].concat());
        laptop.failed(&done, 2, words);
    }
    let url = [
        "headers",
        "--url",
        "http://workspaces.invalid/mcp/x",
        "--insecure-http",
    ];
    let done = laptop.laptop.run(&[&url[..], &source].concat());
    laptop.failed(&done, 1, "cannot be reached");
}

/// CVE-2026-64684: the headers of a request at another origin.
#[test]
fn no_redirect_is_followed_and_no_word_of_a_stranger_repeated() {
    let laptop = Laptop::new();
    let payload = laptop.acme.secret.split('.').nth(1).unwrap().to_owned();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let target = elsewhere.local_addr().unwrap();
    let redirect = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{target}/{payload}\r\ncontent-length: 0\r\n\r\n"
    );
    let echo = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{payload}",
        payload.len()
    );
    let odd =
        "HTTP/1.1 200 OK\r\ncontent-length: 35\r\n\r\n{\"access_token\":\"a\\u000ab\",\"x\":12345}"
            .to_owned();
    for (answer, words) in [
        (redirect, "sends elsewhere"),
        (echo, "MCP URL"),
        (odd, "MCP URL"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp/x", listener.local_addr().unwrap());
        let served = thread::spawn(move || answer_once(listener.accept().unwrap().0, &answer));
        let words_of = ["headers", "--url", &url, "--token-env", "TOKEN_OF_ACME"];
        laptop.failed(&laptop.laptop.run(&words_of), 1, words);
        let asked = served.join().unwrap();
        assert!(
            asked.starts_with("POST /mcp/x/token HTTP/1.1\r\n"),
            "{asked}"
        );
    }
    assert!(elsewhere.accept().is_err(), "somebody came");
}

fn answer_once(mut stream: TcpStream, answer: &str) -> String {
    let mut asked = Vec::new();
    let mut byte = [0];
    while !asked.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        asked.push(byte[0]);
    }
    stream.write_all(answer.as_bytes()).unwrap();
    String::from_utf8(asked).unwrap()
}

/// It is what a helper runs: its arguments are seen by every process of the machine, and hold no token.
#[test]
fn an_access_token_is_no_source() {
    let laptop = Laptop::new();
    let access = laptop.access(&laptop.headers(&["--token-env", "TOKEN_OF_ACME"]));
    let place = Home::new().with_variable("TOKEN", &access);
    let url = [
        "headers",
        "--url",
        &laptop.acme.mcp_url,
        "--token-env",
        "TOKEN",
    ];
    let done = place.run(&url);
    laptop.failed(&done, 1, "not an access token");
}
