//! `wst doctor`: each thing that can be wrong is made wrong, and told.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rusqlite::Connection;
use serde_json::Value;
use tower_workspace_token::clock::{Clock as _, SystemClock};

use crate::{
    common::{Done, Home},
    secrets::{Detector, keys},
};

/// What doctor says, by the name of each check.
struct Diagnosis {
    code: i32,
    checks: Vec<Value>,
    said: String,
}

impl Diagnosis {
    fn of(done: &Done) -> Self {
        let report: Value = serde_json::from_str(&done.stdout)
            .unwrap_or_else(|error| panic!("{error}: {} {}", done.stdout, done.stderr));
        Self {
            code: done.code,
            checks: report["checks"].as_array().unwrap().clone(),
            said: done.stdout.clone() + &done.stderr,
        }
    }

    /// Returns the worst state of the checks of a name; nothing if there is none.
    fn state(&self, name: &str) -> &str {
        let states = self.checks.iter().filter(|check| check["name"] == name);
        let states = states.map(|check| check["state"].as_str().unwrap());
        let rank = |state: &&str| {
            ["skipped", "ok", "warn", "fail"]
                .iter()
                .position(|known| known == state)
        };
        states.max_by_key(rank).unwrap_or("")
    }

    fn assert(&self, name: &str, state: &str, words: &str) {
        assert_eq!(self.state(name), state, "{name}: {}", self.said);
        let is_said = self.checks.iter().any(|check| {
            check["name"] == name
                && (check["found"].to_string() + &check["advice"].to_string()).contains(words)
        });
        assert!(is_said, "{words}: {}", self.said);
        if state == "fail" {
            assert_eq!(self.code, 1);
            let failed = self.checks.iter().filter(|check| check["state"] == "fail");
            failed.for_each(|check| assert!(check["advice"].is_string(), "{check}"));
        }
    }

    fn assert_sound(&self) {
        assert_eq!(self.code, 0, "{}", self.said);
        assert!(self.checks.iter().all(|check| check["state"] != "fail"));
    }
}

fn doctor(home: &Home, arguments: &[&str]) -> Diagnosis {
    Diagnosis::of(&home.run(&[&["doctor", "--json"], arguments].concat()))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_sound_server_is_said_to_be_sound_and_nothing_is_used_for_it() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let found = doctor(&home, &["--url", &workspace.mcp_url]);
    found.assert_sound();
    for name in [
        "permissions",
        "key file",
        "disk space",
        "database",
        "clock of the rows",
        "keys",
        "server",
        "public URL",
        "this server",
        "proxy headers",
        "clock",
        "MCP endpoint",
    ] {
        assert_eq!(found.state(name), "ok", "{name}: {}", found.said);
    }
    found.assert("TLS", "skipped", "http://");
    found.assert("backup", "warn", "wst backup");
    let mut detector = Detector::default();
    detector.watch_token(&workspace.secret);
    keys(&home)
        .iter()
        .for_each(|key| detector.watch(key.as_bytes()));
    assert!(!detector.finds_any_in(found.said.as_bytes()));
    let list = home.json(&["token", "list", "--workspace", "acme"]);
    assert_eq!(list["tokens"][0]["last_used_at"], Value::Null);
    let people = home.run(&["doctor"]);
    assert_eq!(people.code, 0, "{}", people.stderr);
    assert!(
        people.stdout.contains("ok    database: "),
        "{}",
        people.stdout
    );

    drop(server);
    let found = doctor(&home, &[]);
    found.assert_sound();
    found.assert("server", "warn", "start `wst serve`");
    assert_eq!(found.state("database"), "ok");
}

#[test]
fn what_others_can_read_is_told() {
    let home = Home::new();
    let _server = home.serve();
    let data_dir = home.data_dir();
    for (path, mode, right) in [
        (data_dir.clone(), 0o755, 0o700),
        (home.database(), 0o644, 0o600),
        (data_dir.join("control.sock"), 0o666, 0o600),
        (home.key_file(), 0o640, 0o600),
    ] {
        chmod(&path, mode);
        let name = path.file_name().unwrap().to_str().unwrap();
        doctor(&home, &[]).assert("permissions", "fail", name);
        chmod(&path, right);
        doctor(&home, &[]).assert_sound();
    }
    // What a file system keeps, and what lies elsewhere, is nobody's business here.
    fs::create_dir(data_dir.join("lost+found")).unwrap();
    chmod(&data_dir.join("lost+found"), 0o755);
    std::os::unix::fs::symlink("/", data_dir.join("link")).unwrap();
    doctor(&home, &[]).assert_sound();
    chmod(&home.key_file(), 0o644);
    doctor(&home, &[]).assert("key file", "fail", "chmod 600");
}

#[test]
fn a_key_file_that_is_gone_or_another_is_told() {
    let home = Home::new();
    let server = home.serve();
    home.create_workspace("acme");
    let kept = home.path("kept");
    fs::rename(home.key_file(), &kept).unwrap();
    doctor(&home, &[]).assert("key file", "fail", "is missing");
    drop(server);
    let found = doctor(&home, &[]);
    found.assert("key file", "fail", "is missing");
    found.assert("server", "fail", "is missing");
    // Somebody else's keys.
    let other = Home::new();
    drop(other.serve());
    fs::copy(other.key_file(), home.key_file()).unwrap();
    doctor(&home, &[]).assert("server", "fail", "does not go with this database");
    fs::rename(kept, home.key_file()).unwrap();
    doctor(&home, &[]).assert_sound();
}

#[test]
fn rows_of_the_future_and_damage_are_told() {
    let home = Home::new();
    drop(home.serve());
    home.create_workspace("acme");
    let change = |sql: &str| {
        let connection = Connection::open(home.database()).unwrap();
        connection
            .pragma_update(None, "ignore_check_constraints", true)
            .unwrap();
        assert!(connection.execute(sql, []).unwrap() > 0);
    };
    change("UPDATE workspaces SET created_at = created_at + 3600000");
    let found = doctor(&home, &[]);
    found.assert("clock of the rows", "fail", "ahead of the clock");
    // Of a server that runs as well.
    let server = home.serve();
    doctor(&home, &[]).assert("clock of the rows", "fail", "NTP");
    drop(server);
    change("UPDATE workspaces SET created_at = created_at - 3600000");
    doctor(&home, &[]).assert_sound();
    change("UPDATE wst_slots SET last_used_at = -1");
    doctor(&home, &[]).assert("server", "fail", "the database is damaged");
}

#[test]
fn a_public_url_that_leads_elsewhere_is_told() {
    let home = Home::new();
    let _server = home.serve();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    doctor(&home, &["--public-url", &nobody]).assert("public URL", "fail", "cannot be reached");

    let other = Home::new();
    let elsewhere = other.serve();
    let url = format!("http://{}", elsewhere.address());
    let found = doctor(&home, &["--public-url", &url]);
    assert_eq!(found.state("public URL"), "ok");
    found.assert("this server", "fail", "another server");

    let (url, _) = says("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok!");
    doctor(&home, &["--public-url", &url]).assert("public URL", "fail", "200 OK");
    doctor(&home, &["--public-url", "http://nowhere.invalid"]).assert("DNS", "fail", "no address");
}

#[test]
fn a_lock_that_nobody_answers_for_is_told() {
    let home = Home::new();
    drop(home.serve());
    let lock = File::options()
        .write(true)
        .open(home.data_dir().join("lock"))
        .unwrap();
    lock.lock().unwrap();
    doctor(&home, &[]).assert("server", "fail", "does not answer on its control socket");
}

/// Answers each connection with the same; returns the URL.
fn says(answer: &'static str) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_head(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, thread)
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Hands requests on to `target` with their heads changed; returns its own URL.
fn proxy(target: &str, change: impl Fn(String) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let target = target.to_owned();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let head = change(read_head(&mut client));
            let mut server = TcpStream::connect(&target).unwrap();
            server.write_all(head.as_bytes()).unwrap();
            let mut answer = Vec::new();
            let _ = server.read_to_end(&mut answer);
            let _ = client.write_all(&answer);
        }
    });
    url
}

#[test]
fn what_a_proxy_makes_of_requests_is_told() {
    let add = |line: &'static str| {
        move |head: String| head.replacen("\r\n", &format!("\r\n{line}\r\n"), 1)
    };
    let forwarded = || add("x-forwarded-for: 192.0.2.7");
    let home = Home::new();
    let server = home.serve();
    let url = proxy(server.address(), forwarded());
    let found = doctor(&home, &["--public-url", &url]);
    found.assert("proxy headers", "warn", "--trusted-proxy 127.0.0.1");
    assert_eq!(found.code, 0);
    let url = proxy(server.address(), |head| {
        let start = head.find("host: ").unwrap();
        let end = start + head[start..].find("\r\n").unwrap();
        format!("{}host: inner:80{}", &head[..start], &head[end..])
    });
    doctor(&home, &["--public-url", &url]).assert("proxy headers", "fail", "another host");
    let url = proxy(server.address(), |head| {
        let start = head.find("x-wst-probe").unwrap();
        let end = start + head[start..].find("\r\n").unwrap() + 2;
        format!("{}{}", &head[..start], &head[end..])
    });
    doctor(&home, &["--public-url", &url]).assert("this server", "fail", "drops headers");
    drop(server);

    let server = home.serve_with(&["--trusted-proxy", "127.0.0.1"]);
    let https = || add("x-forwarded-for: 192.0.2.7\r\nx-forwarded-proto: https");
    let url = proxy(server.address(), https());
    doctor(&home, &["--public-url", &url]).assert("proxy headers", "ok", "192.0.2.7");
    let http = || add("x-forwarded-for: 192.0.2.7\r\nx-forwarded-proto: http");
    let url = proxy(server.address(), http());
    doctor(&home, &["--public-url", &url]).assert("proxy headers", "fail", "X-Forwarded-Proto");
}

/// A certificate authority, and servers with certificates of it.
struct Authority {
    home: Home,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let home = Home::new();
        fs::write(home.path("ca.pem"), issuer.pem()).unwrap();
        Self { home, issuer }
    }

    /// Looks at a server with a certificate for `name` that ends on a day.
    fn diagnose(&self, name: &str, end: (i32, u8, u8), trust: &[&str]) -> Diagnosis {
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        parameters.not_after = date_time_ymd(end.0, end.1, end.2);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.home.path("cert.pem"), certificate.pem()).unwrap();
        fs::write(self.home.path("key.pem"), key.serialize_pem()).unwrap();
        chmod(&self.home.path("key.pem"), 0o600);
        let _server = self
            .home
            .serve_with(&["--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
        doctor(&self.home, trust)
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_told() {
    let authority = Authority::new();
    let trust = ["--ca-file", "ca.pem"];
    let found = authority.diagnose("127.0.0.1", (4000, 1, 1), &trust);
    found.assert_sound();
    found.assert("TLS", "ok", "more than 3650 days");
    assert_eq!(found.state("this server"), "ok");
    let found = authority.diagnose("127.0.0.1", (2020, 1, 1), &trust);
    found.assert("TLS", "fail", "it has expired");
    let found = authority.diagnose("elsewhere.test", (4000, 1, 1), &trust);
    found.assert("TLS", "fail", "it is for another name");
    let found = authority.diagnose("127.0.0.1", (4000, 1, 1), &[]);
    found.assert("TLS", "fail", "nobody who is trusted here");
    found.assert("public URL", "fail", "what is said of TLS");
    let now = i64::try_from(SystemClock.now().as_secs()).unwrap();
    let soon = jiff::Timestamp::from_second(now + 6 * 24 * 60 * 60).unwrap();
    let soon = soon.to_zoned(jiff::tz::TimeZone::UTC).date();
    let end = (soon.year().into(), soon.month() as u8, soon.day() as u8);
    let found = authority.diagnose("127.0.0.1", end, &trust);
    found.assert("TLS", "warn", "5 days more");
    assert_eq!(found.code, 0);
}

#[test]
fn a_laptop_needs_nothing_but_the_url() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let laptop = Home::new();
    let found = doctor(&laptop, &["--url", &workspace.mcp_url]);
    found.assert_sound();
    for name in ["MCP endpoint", "clock"] {
        assert_eq!(found.state(name), "ok", "{}", found.said);
    }
    assert_eq!(found.state("permissions"), "");
    drop(server);
    let found = doctor(&laptop, &["--url", &workspace.mcp_url]);
    found.assert("MCP endpoint", "fail", "cannot be reached");

    for (answer, words) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "200 OK"),
        (
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n",
            "Bearer",
        ),
        (
            "HTTP/1.1 308 Elsewhere\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            "sends clients elsewhere",
        ),
        ("SSH-2.0-something\r\n", "HTTP"),
    ] {
        let (url, _) = says(answer);
        let found = doctor(&laptop, &["--url", &format!("{url}/mcp/abc")]);
        found.assert("MCP endpoint", "fail", words);
    }
    let (url, _) = says(
        "HTTP/1.1 401 Unauthorized\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nwww-authenticate: Bearer\r\ncontent-length: 0\r\n\r\n",
    );
    let found = doctor(&laptop, &["--url", &format!("{url}/mcp/abc")]);
    found.assert("clock", "fail", "behind");
    assert_eq!(found.state("MCP endpoint"), "ok");
}

#[test]
fn without_anything_to_look_at_it_says_what_to_give_and_repeats_no_token() {
    let laptop = Home::new();
    let (code, error) = laptop.failure(&["doctor"]);
    assert_eq!((code, error.as_str()), (1, "no_data_dir"));
    assert!(laptop.run(&["doctor"]).stderr.contains("--url"));
    let (code, error) = laptop.failure(&[
        "doctor",
        "--data-dir",
        "x",
        "--url",
        "http://127.0.0.1/mcp/abc",
    ]);
    assert_eq!((code, error.as_str()), (1, "no_data_dir"));
    let done = laptop.run(&["doctor", "--url", "https://e.com/mcp/abc?token=a-secret"]);
    assert_eq!(done.code, 2);
    assert!(!done.stderr.contains("a-secret"), "{}", done.stderr);
    let done = laptop.run(&["doctor", "--url", "https://e.com/mcp"]);
    assert_eq!(done.code, 2);
    assert!(
        done.stderr.contains("https://HOST/mcp/ID"),
        "{}",
        done.stderr
    );
}
