//! Those who send more than they should, or slower, and those beside them who must not feel it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::common::{Answer, Home, Over, Server, Stopwatch, Workspace};

/// Tries a token that is none, and returns the answer.
fn try_in_vain(server: &Server, workspace: &str) -> Answer {
    try_from(server, workspace, None)
}

fn try_from(server: &Server, workspace: &str, source: Option<&str>) -> Answer {
    let mut headers = vec![("authorization", "Bearer wst_this-is-none")];
    headers.extend(source.map(|source| ("x-forwarded-for", source)));
    server.ask("POST", &format!("/mcp/{workspace}"), &headers)
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

fn assert_put_off(answer: &Answer) {
    assert_eq!(answer.status, 429, "{answer:?}");
    let seconds: u32 = header(answer, "retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{answer:?}");
    let error: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(error["jsonrpc"], "2.0");
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains(&format!("{seconds} seconds"))
    );
    assert!(!answer.body.contains("this-is-none"));
}

const FEW: [&str; 2] = ["--failed-tokens-per-minute", "5"];

fn admits(server: &Server, workspace: &Workspace) -> bool {
    ![401, 429].contains(&server.status_of(&workspace.id, &workspace.secret))
}

#[test]
fn a_source_whose_tokens_fail_too_often_is_put_off_and_its_valid_one_never_is() {
    let home = Home::new();
    let server = home.serve_with(&FEW);
    let workspace = home.create_workspace("acme");
    for _ in 0..5 {
        assert_eq!(try_in_vain(&server, &workspace.id).status, 401);
    }
    for _ in 0..20 {
        let refused = try_in_vain(&server, &workspace.id);
        assert_put_off(&refused);
        assert_eq!(header(&refused, "www-authenticate"), None);
        assert_eq!(header(&refused, "cache-control"), Some("no-store"));
        // From the same address, to the same workspace.
        assert!(admits(&server, &workspace));
    }
    // At another workspace the same source has a quota of its own, and who sends none has none.
    let other = home.create_workspace("other");
    assert_eq!(try_in_vain(&server, &other.id).status, 401);
    for _ in 0..20 {
        let answer = server.ask("POST", &format!("/mcp/{}", workspace.id), &[]);
        assert_eq!(answer.status, 401);
    }
    let lines = server.log().matches("fail too often").count();
    assert_eq!(lines, 1, "{}", server.log());
}

#[test]
fn a_valid_token_is_let_in_while_a_flood_of_others_goes_on_beside_it() {
    let home = Home::new();
    let server = home.serve_with(&FEW);
    let workspace = home.create_workspace("acme");
    let (is_over, put_off) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        let _over = Over(&is_over);
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    if try_in_vain(&server, &workspace.id).status == 429 {
                        put_off.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        for _ in 0..200 {
            assert!(admits(&server, &workspace));
        }
    });
    assert!(put_off.load(Ordering::SeqCst) > 100, "there was no flood");
}

#[test]
fn sources_are_told_apart_by_what_trusted_proxies_say_and_by_nobody_else() {
    let home = Home::new();
    let workspace = {
        let server = home.serve_with(&FEW);
        let workspace = home.create_workspace("acme");
        // Whoever writes the header itself is one source all the same.
        let statuses = (0..8).map(|n| {
            let source = format!("192.0.2.{n}");
            try_from(&server, &workspace.id, Some(&source)).status
        });
        assert_eq!(statuses.filter(|status| *status == 429).count(), 3);
        workspace
    };
    let proxy = ["--trusted-proxy", "127.0.0.1"];
    let server = home.serve_with(&[&FEW[..], &proxy].concat());
    let status = |source: &str| try_from(&server, &workspace.id, Some(source)).status;
    for _ in 0..5 {
        assert_eq!(status("192.0.2.1"), 401);
        // All addresses of a /64 are one client's.
        assert_eq!(status("2001:db8::1"), 401);
    }
    assert_eq!(status("192.0.2.1"), 429);
    assert_eq!(status("2001:db8::2"), 429);
    assert_eq!(status("192.0.2.2"), 401);
    assert_eq!(status("2001:db8:0:1::1"), 401);
}

#[test]
fn what_limits_keep_out_is_counted() {
    let home = Home::new();
    let admin = ["--admin-listen", "127.0.0.1:0"];
    let server = home.serve_with(&[&FEW[..], &admin].concat());
    let workspace = home.create_workspace("acme");
    for _ in 0..7 {
        try_in_vain(&server, &workspace.id);
    }
    let metrics = server.metrics();
    for expected in [
        "wst_limited_total{limit=\"failed_tokens\"} 2",
        "wst_limited_total{limit=\"calls_per_token\"} 0",
        // Why they were turned away is counted of all.
        "wst_rejections_total{reason=\"invalid_token\"} 7",
    ] {
        assert!(metrics.contains(expected), "{expected}\n{metrics}");
    }
}

/// A request for the endpoint whose head has something in it, by what is too much of it.
struct Large {
    name: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: usize,
    status: u16,
}

fn large(workspace: &Workspace) -> Vec<Large> {
    let path = format!("/mcp/{}", workspace.id);
    let fields = |count: usize, length: usize| {
        let value = "v".repeat(length);
        let field = |n| (format!("x-{n}"), value.clone());
        (0..count).map(field).collect()
    };
    let large = |name, status| Large {
        name,
        target: path.clone(),
        headers: Vec::new(),
        body: 0,
        status,
    };
    let target = |query: String| format!("{path}?{query}");
    vec![
        Large {
            target: target("q".repeat(11 * 1024)),
            ..large("an address below the cap", 0)
        },
        Large {
            target: target("q".repeat(12 * 1024)),
            ..large("an address above it", 414)
        },
        Large {
            target: target(["a=b"; 100].join("&")),
            ..large("as many parameters as may be", 0)
        },
        Large {
            target: target(["a=b"; 101].join("&")),
            ..large("one more parameter", 400)
        },
        Large {
            headers: fields(90, 8),
            ..large("many header fields", 0)
        },
        Large {
            headers: fields(101, 8),
            ..large("too many header fields", 431)
        },
        Large {
            headers: fields(10, 7 * 1024),
            ..large("a head of 70 KiB", 431)
        },
        Large {
            body: 4 * 1024 * 1024,
            ..large("a body as long as may be", 0)
        },
        Large {
            body: 4 * 1024 * 1024 + 1,
            ..large("a body of one byte more", 413)
        },
    ]
}

/// What is no refusal of a cap is one of the endpoint, which finds no message in it.
fn assert_status(large: &Large, status: u16) {
    match large.status {
        0 => assert!(![413, 414, 431].contains(&status), "{}", large.name),
        expected => assert_eq!(status, expected, "{}", large.name),
    }
}

#[test]
fn what_is_too_large_in_http_1_is_refused_by_name() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    for large in large(&workspace) {
        let mut head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            large.target,
            server.address(),
            workspace.secret,
            large.body
        );
        for (name, value) in &large.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = server.connect();
        // Who is refused by the length that is said need not be read on.
        let _ = stream.write_all(format!("{head}\r\n").as_bytes());
        let _ = stream.write_all(&vec![b' '; large.body]);
        assert_status(&large, status_line(&mut stream));
    }
}

fn status_line(stream: &mut TcpStream) -> u16 {
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    let mut line = [0; 12];
    stream.read_exact(&mut line).unwrap();
    let line = str::from_utf8(&line).unwrap();
    line.strip_prefix("HTTP/1.1 ").unwrap().parse().unwrap()
}

/// Returns the status of the answer over HTTP/2, if there is one.
async fn status_over_http_2(server: &Server, token: &str, large: &Large) -> Option<u16> {
    let stream = tokio::net::TcpStream::connect(server.address()).await;
    let io = TokioIo::new(stream.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut request = Request::post(format!("http://{}{}", server.address(), large.target))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    for (name, value) in &large.headers {
        request = request.header(name, value);
    }
    let body = Full::new(Bytes::from(vec![b' '; large.body]));
    let response = sender.send_request(request.body(body).unwrap()).await;
    connection.abort();
    Some(response.ok()?.status().as_u16())
}

#[tokio::test]
async fn what_is_too_large_in_http_2_is_refused_by_name() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let half_of_it = Large {
        name: "a head of 20 KiB",
        target: "/livez".to_owned(),
        headers: vec![("x-1".to_owned(), "v".repeat(20 * 1024))],
        body: 0,
        status: 431,
    };
    for large in large(&workspace).into_iter().chain([half_of_it]) {
        let status = status_over_http_2(&server, &workspace.secret, &large).await;
        match large.name {
            // Too much of it even to be read for an answer: the connection ends.
            "a head of 70 KiB" => assert_eq!(status, None),
            _ => assert_status(&large, status.expect(large.name)),
        }
    }
}

#[tokio::test]
async fn an_answer_of_a_cap_says_what_to_do_and_has_no_body_for_head() {
    let home = Home::new();
    let server = home.serve();
    let parameters = |count| vec!["qqq=b"; count].join("&");
    for (query, status, words) in [
        ("q".repeat(13 * 1024), 414, "12 KiB"),
        (parameters(101), 400, "100 parameters"),
        // As many as may be: then it is the token that is missing.
        (parameters(100), 401, "token"),
    ] {
        let target = format!("/mcp/acme?{query}");
        let answer = server.ask("GET", &target, &[]);
        assert_eq!(answer.status, status, "{words}");
        let error: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(words) && !answer.body.contains("qqq"));
        assert_eq!(server.ask("HEAD", &target, &[]).body, "");
    }
}

/// Says hello as clients of the newer era do.
fn discover(server: &Server, workspace: &Workspace) -> String {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    call(server, workspace, "mcp-method: server/discover\r\n", body)
}

/// Waits for a task for longer than slow clients are borne.
fn wait_for_a_task(server: &Server, workspace: &Workspace) -> String {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"getTask","arguments":{"waitSeconds":50},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let headers = "mcp-method: tools/call\r\nmcp-name: getTask\r\n";
    call(server, workspace, headers, body)
}

fn call(server: &Server, workspace: &Workspace, headers: &str, body: &str) -> String {
    format!(
        "POST /mcp/{} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\naccept: application/json, text/event-stream\r\ncontent-type: application/json\r\nmcp-protocol-version: 2026-07-28\r\n{headers}content-length: {}\r\n\r\n{body}",
        workspace.id,
        server.address(),
        workspace.secret,
        body.len()
    )
}

fn open_connections(server: &Server) -> u32 {
    let metrics = server.metrics();
    let name = "wst_open_connections{listener=\"public\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().parse().unwrap()
}

/// Asks for much and takes nothing of it, until the server has no room left for its answers.
fn ask_and_never_read(server: &Server) -> TcpStream {
    let login = server.ask("GET", "/login", &[]).body;
    let (_, rest) = login.split_once("/assets/").unwrap();
    let (version, _) = rest.split_once('/').unwrap();
    let request = format!(
        "GET /assets/{version}/htmx.js HTTP/1.1\r\nhost: {}\r\n\r\n",
        server.address()
    );
    let mut stream = server.connect();
    let short = Some(Duration::from_secs(1));
    stream.set_write_timeout(short).unwrap();
    while stream.write_all(request.as_bytes()).is_ok() {}
    stream
}

#[test]
fn slow_clients_are_cut_within_ten_seconds_and_nobody_feels_them() {
    let home = Home::new();
    let server = home.serve_with(&["--admin-listen", "127.0.0.1:0"]);
    let workspace = home.create_workspace("acme");
    let mut waiting = server.connect();
    let wait = wait_for_a_task(&server, &workspace);
    waiting.write_all(wait.as_bytes()).unwrap();
    let unread = ask_and_never_read(&server);
    let whole = discover(&server, &workspace);
    let in_head = whole.find("accept").unwrap();
    let slow: Vec<_> = (0..500)
        .map(|n| {
            let mut stream = server.connect();
            let sent = match n % 3 {
                0 => 0,
                1 => in_head,
                _ => whole.len() - 1,
            };
            stream.write_all(&whole.as_bytes()[..sent]).unwrap();
            stream
        })
        .collect();
    let watch = Stopwatch::start();
    // Those that it has not got round to yet count soon.
    let are_open = (0..50).any(|_| {
        thread::sleep(Duration::from_millis(50));
        open_connections(&server) >= 500
    });
    assert!(are_open);
    while watch.elapsed() < Duration::from_secs(10) {
        let asked = Stopwatch::start();
        assert!(admits(&server, &workspace));
        assert!(asked.elapsed() < Duration::from_secs(1));
        thread::sleep(Duration::from_millis(50));
    }
    // The one that waits for its answer is no slow one.
    assert_eq!(open_connections(&server), 1);
    waiting.set_nonblocking(true).unwrap();
    let still = waiting.read(&mut [0; 1]).unwrap_err();
    assert_eq!(still.kind(), std::io::ErrorKind::WouldBlock);
    drop((slow, unread));
}

#[test]
fn a_connection_beyond_the_bound_waits_until_another_closes() {
    let home = Home::new();
    let server = home.serve_with(&["--max-connections", "3"]);
    let mut open: Vec<_> = (0..3).map(|_| server.connect()).collect();
    thread::sleep(Duration::from_millis(200));
    let mut late = server.connect();
    let request = format!("GET /livez HTTP/1.1\r\nhost: {}\r\n\r\n", server.address());
    late.write_all(request.as_bytes()).unwrap();
    let moment = Some(Duration::from_millis(500));
    late.set_read_timeout(moment).unwrap();
    late.read_exact(&mut [0; 1]).unwrap_err();
    open.pop();
    assert_eq!(status_line(&mut late), StatusCode::OK);
    assert_eq!(server.log().matches("new ones wait").count(), 1);
}

/// An address of this machine that is not loopback, which has no share. Nothing is sent.
fn outer_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn a_source_has_its_share_of_the_connections_and_leaves_the_rest_to_others() {
    let Some(outer) = outer_address() else {
        println!("skipped: this machine has no address but loopback");
        return;
    };
    let home = Home::new();
    let arguments = ["--listen", "0.0.0.0:0", "--insecure-http"];
    let server = home.serve_alone(&[&arguments[..], &["--max-connections", "8"]].concat());
    let port = server
        .address()
        .rsplit_once(':')
        .unwrap()
        .1
        .parse()
        .unwrap();
    let connect = |from: std::net::IpAddr| {
        let stream = TcpStream::connect((from, port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream
    };
    let request = format!("GET /livez HTTP/1.1\r\nhost: {outer}:{port}\r\n\r\n");
    let answer = |stream: &mut TcpStream| {
        stream.write_all(request.as_bytes()).unwrap();
        status_line(stream)
    };
    let mut open = [connect(outer), connect(outer)];
    assert_eq!(answer(&mut open[0]), StatusCode::OK);
    // Each more is hung up on and does not stand in the way.
    for _ in 0..16 {
        assert_eq!(connect(outer).read(&mut [0; 1]).unwrap(), 0);
    }
    let mut others: Vec<_> = (0..5).map(|_| connect([127, 0, 0, 1].into())).collect();
    assert!(
        others
            .iter_mut()
            .all(|other| answer(other) == StatusCode::OK)
    );
    assert_eq!(answer(&mut open[1]), StatusCode::OK);
    assert_eq!(server.log().matches("it is hung up on").count(), 1);
    // One that ends is given back.
    drop(open);
    let watch = Stopwatch::start();
    loop {
        let mut again = connect(outer);
        let _ = again.write_all(request.as_bytes());
        if again.read(&mut [0; 1]).is_ok_and(|read| read == 1) {
            break;
        }
        assert!(watch.elapsed() < Duration::from_secs(5), "not given back");
    }
}

/// Sends a call and leaves its connection open, once the server has begun with it.
fn begin(server: &Server, request: &str) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(request.as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(300));
    stream
}

fn wait_until_admitted(server: &Server, workspace: &Workspace) {
    let watch = Stopwatch::start();
    while !admits(server, workspace) {
        assert!(watch.elapsed() < Duration::from_secs(5), "not given back");
        thread::sleep(Duration::from_millis(20));
    }
}

const TWO: [&str; 2] = ["--calls-per-token", "2"];

#[test]
fn a_token_has_so_many_calls_at_a_time_and_others_have_theirs() {
    let home = Home::new();
    let server = home.serve_with(&TWO);
    let workspace = home.create_workspace("acme");
    let wait = wait_for_a_task(&server, &workspace);
    let _waiting = [begin(&server, &wait), begin(&server, &wait)];
    let bearer = format!("Bearer {}", workspace.secret);
    let path = format!("/mcp/{}", workspace.id);
    let refused = server.ask("POST", &path, &[("authorization", &bearer)]);
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(header(&refused, "retry-after"), Some("5"));
    assert!(refused.body.contains("\"error\""), "{refused:?}");
    assert!(!refused.body.contains(&workspace.secret[90..102]));
    // A token that is no good is told so, and no more.
    assert_eq!(try_in_vain(&server, &workspace.id).status, 401);
    let other = home.create_workspace("other");
    assert!(admits(&server, &other));
    let second = home.json(&["token", "create", "--workspace", "acme", "--name", "second"]);
    let second = second["secret"].as_str().unwrap();
    assert!(![401, 429].contains(&server.status_of(&workspace.id, second)));
}

#[test]
fn calls_that_were_answered_are_given_back() {
    let home = Home::new();
    let server = home.serve_with(&["--calls-per-token", "1"]);
    let workspace = home.create_workspace("acme");
    for _ in 0..20 {
        wait_until_admitted(&server, &workspace);
    }
    let mut answered = begin(&server, &discover(&server, &workspace));
    assert_eq!(status_line(&mut answered), 200);
    wait_until_admitted(&server, &workspace);
}

#[test]
fn calls_whose_client_hangs_up_are_given_back() {
    let home = Home::new();
    let server = home.serve_with(&TWO);
    let workspace = home.create_workspace("acme");
    let wait = wait_for_a_task(&server, &workspace);
    let whole = discover(&server, &workspace);
    let half_sent = begin(&server, &whole[..whole.len() - 1]);
    let waiting = begin(&server, &wait);
    assert!(!admits(&server, &workspace));
    drop(waiting);
    wait_until_admitted(&server, &workspace);
    let waiting = begin(&server, &wait);
    assert!(!admits(&server, &workspace));
    drop(half_sent);
    wait_until_admitted(&server, &workspace);
    drop(waiting);
}

#[test]
fn calls_of_a_token_that_was_rotated_are_not_its_successors() {
    let home = Home::new();
    let server = home.serve_with(&TWO);
    let mut workspace = home.create_workspace("acme");
    for _ in 0..3 {
        let wait = wait_for_a_task(&server, &workspace);
        let waiting = [begin(&server, &wait), begin(&server, &wait)];
        assert!(!admits(&server, &workspace));
        let rotated = home.json(&["token", "rotate", "--workspace", "acme"]);
        workspace.secret = crate::common::text(&rotated["secret"]);
        assert!(admits(&server, &workspace));
        drop(waiting);
    }
}
