//! Host and authority: what HTTP libraries let through. Byte by byte over HTTP/1.1, and over HTTP/2 as
//! `Host`, as `:authority` (RFC 9113 §8.3.1) and as both.

use axum::body::Body;
use http::{HeaderName, HeaderValue, Request, Version, uri::Authority};

use crate::{
    common::{App, World},
    table::{Attempt, Case, Expected},
};

pub(crate) async fn cases() -> Vec<Case> {
    let world = World::new().await;
    world.issue("other", "primary").await;
    let mut cases = Vec::new();
    let token = world.token.as_str();
    let app = world.by_host();
    let good = request("GET /mcp HTTP/1.1", "Host: acme.mcp.test\r\n", token);
    for (name, line, hosts, expected) in addresses() {
        cases.push(Case {
            family: "host and authority",
            name: name.to_owned(),
            attack: Attempt::bytes(&app, request(line, hosts, token), &[token]),
            expected,
            control: Attempt::bytes(&app, good.clone(), &[token]),
        });
    }
    cases.extend(over_http2(&app, token));
    let mut not_ascii =
        b"GET /mcp HTTP/1.1\r\nHost: acme.mcp.t\xe9st\r\nConnection: close\r\n".to_vec();
    not_ascii.extend(format!("Authorization: Bearer {token}\r\n\r\n").into_bytes());
    cases.push(Case {
        family: "host and authority",
        name: String::from("a host that is not ASCII"),
        attack: Attempt::bytes(&app, not_ascii, &[token]),
        expected: Expected::BadAddress,
        control: Attempt::bytes(&app, good.clone(), &[token]),
    });
    // Where the workspace stands in the path any host will do, as long as it is one.
    let by_path = world.by_path();
    let line = "GET /mcp/acme HTTP/1.1";
    let any_host = request(line, "Host: any.test\r\n", token);
    for host in MALFORMED {
        let host_line = format!("Host: {host}\r\n");
        cases.push(Case {
            family: "host and authority",
            name: format!(
                "`{}` for a host, the workspace in the path",
                host.escape_debug()
            ),
            attack: Attempt::bytes(&by_path, request(line, &host_line, token), &[token]),
            expected: Expected::BadAddress,
            control: Attempt::bytes(&by_path, any_host.clone(), &[token]),
        });
    }
    for host in MISLEADING {
        for (place, app, target, right) in [
            ("under the domain", &app, "/mcp", "acme.mcp.test"),
            ("before a path", &by_path, "/mcp/acme", "any.test"),
        ] {
            let attempt = |host: &str| {
                let request = Request::get(target)
                    .header("host", HeaderValue::from_bytes(host.as_bytes()).unwrap())
                    .header("authorization", format!("Bearer {token}"));
                Attempt::request(app, request.body(Body::empty()).unwrap(), &[token])
            };
            cases.push(Case {
                family: "host and authority",
                name: format!("the host {host:?}, {place}"),
                attack: attempt(host),
                expected: Expected::BadAddress,
                control: attempt(right),
            });
        }
    }
    for (name, bytes, expected) in smuggled(token) {
        cases.push(Case {
            family: "request smuggling",
            name: name.to_owned(),
            attack: Attempt::bytes(&app, bytes, &[token]),
            expected,
            control: Attempt::bytes(&app, good.clone(), &[token]),
        });
    }
    cases
}

/// The addresses of [`addresses`] over HTTP/2: in each place in which that version can carry them.
fn over_http2(app: &App, token: &str) -> Vec<Case> {
    let request = |target: &str, hosts: &[(HeaderName, HeaderValue)]| {
        let mut request = Request::get(target)
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())
            .unwrap();
        request.headers_mut().extend(hosts.iter().cloned());
        if request.uri().authority().is_some() {
            *request.version_mut() = Version::HTTP_2;
        }
        request
    };
    let mut cases = Vec::new();
    for (name, line, hosts, expected) in addresses() {
        let target = line.split(' ').nth(1).unwrap();
        let is_right = target.starts_with("http:") && hosts.is_empty();
        let Some(hosts) = fields(hosts).filter(|_| line.starts_with("GET ") && !is_right) else {
            continue;
        };
        let mut push = |place: &str, request: Request<Body>, expected: Expected| {
            cases.push(Case {
                family: "host and authority",
                name: format!("{name}, over HTTP/2 {place}"),
                attack: Attempt::http2(app, request, &[token]),
                expected,
                control: Attempt::http2(app, over_http2_rightly(token), &[token]),
            });
        };
        push("as it is", request(target, &hosts), expected);
        let [(host, value), forwarded @ ..] = &hosts[..] else {
            continue;
        };
        if target.starts_with("http:") || forwarded.iter().any(|(name, _)| name == host) {
            continue;
        }
        if let Ok(authority) = Authority::try_from(value.as_bytes()) {
            let target = format!("http://{authority}/mcp");
            push("as the authority", request(&target, forwarded), expected);
        }
        let right = "http://acme.mcp.test/mcp";
        let name = "beside the right authority";
        push(name, request(right, &hosts), Expected::BadAddress);
    }
    cases
}

/// What every control over HTTP/2 is: the right authority, and no `Host`.
fn over_http2_rightly(token: &str) -> Request<Body> {
    Request::get("http://acme.mcp.test/mcp")
        .version(Version::HTTP_2)
        .header("authorization", format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap()
}

/// The fields that lines of HTTP/1.1 stand for; `None` if one of them stands for none.
fn fields(lines: &str) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(value.trim_ascii().as_bytes()).ok()?;
        Some((name, value))
    };
    lines.split_terminator("\r\n").map(field).collect()
}

const MALFORMED: [&str; 20] = [
    "",
    ".",
    "a.test.",
    ".a.test",
    "a..test",
    "a test",
    "a\ttest",
    "a.test, b.test",
    "user@a.test",
    "a.test/x",
    "a.test?x",
    "a.test#x",
    "a.test\\b.test",
    "https://a.test",
    "a%2etest",
    "a.test\"",
    "<a.test>",
    "[a.test]",
    "[::1",
    "a.test:80:80",
];

/// Hosts that some readers take for ours, whatever the workspace is taken from.
const MISLEADING: [&str; 62] = [
    "acme.mcp.test.",
    "acme.mcp.test..",
    ".acme.mcp.test",
    "acme..mcp.test",
    "acme.mcp.test:",
    "acme.mcp.test:x",
    "acme.mcp.test:-80",
    "acme.mcp.test:+80",
    "acme.mcp.test:80x",
    "acme.mcp.test:0x50",
    "acme.mcp.test:65536",
    "acme.mcp.test:4294967376",
    "acme.mcp.test:80:443",
    "acme.mcp.test:80,443",
    "acme.mcp.test:80@evil.test",
    "acme.mcp.test@evil.test",
    "evil.test@acme.mcp.test",
    "user:password@acme.mcp.test",
    "@acme.mcp.test",
    "acme.mcp.test@",
    "acme.mcp.test/",
    "acme.mcp.test/../x",
    "acme.mcp.test?",
    "acme.mcp.test#",
    "acme.mcp.test\\",
    "acme.mcp.test%00",
    "acme.mcp.test%20",
    "acme.mcp.test%0d%0a",
    "acme%2emcp.test",
    "%61cme.mcp.test",
    "acme.mcp.test,",
    "acme.mcp.test,evil.test",
    "acme.mcp.test, evil.test",
    "acme.mcp.test evil.test",
    "acme.mcp.test;evil.test",
    "acme.mcp.test|x",
    "acme.mcp.test&x",
    "acme.mcp.test=x",
    "acme.mcp.test'",
    "acme.mcp.test\"",
    "acme.mcp.test`id`",
    "$(id).mcp.test",
    "${x}.mcp.test",
    "*.mcp.test",
    "acme!.mcp.test",
    "acme~.mcp.test",
    "(acme).mcp.test",
    "<acme>.mcp.test",
    "{acme}.mcp.test",
    "[acme].mcp.test",
    "[::1",
    "::1]",
    "[::1]]",
    "[::1]x",
    "[::1%25lo]",
    "[fe80::1%lo]",
    "[1]",
    "[v1.x]",
    "http://acme.mcp.test",
    "//acme.mcp.test",
    "acm\u{435}.mcp.test",
    "acme\u{3002}mcp.test",
];

fn request(line: &str, hosts: &str, token: &str) -> String {
    format!("{line}\r\n{hosts}Authorization: Bearer {token}\r\nConnection: close\r\n\r\n")
}

fn addresses() -> Vec<(&'static str, &'static str, &'static str, Expected)> {
    use Expected::{BadAddress, InvalidToken};
    const LINE: &str = "GET /mcp HTTP/1.1";
    vec![
        ("no host", LINE, "", BadAddress),
        ("an empty host", LINE, "Host:\r\n", BadAddress),
        ("a host of spaces", LINE, "Host:   \r\n", BadAddress),
        (
            "two different hosts",
            LINE,
            "Host: acme.mcp.test\r\nHost: other.mcp.test\r\n",
            BadAddress,
        ),
        (
            "two different hosts, the right one last",
            LINE,
            "Host: other.mcp.test\r\nHost: acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "the same host twice",
            LINE,
            "Host: acme.mcp.test\r\nHost: acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "the same host twice, in another case",
            LINE,
            "Host: acme.mcp.test\r\nhOST: acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "a second host that is empty",
            LINE,
            "Host: acme.mcp.test\r\nHost:\r\n",
            BadAddress,
        ),
        (
            "a list of hosts",
            LINE,
            "Host: acme.mcp.test, other.mcp.test\r\n",
            BadAddress,
        ),
        (
            "a list of one host",
            LINE,
            "Host: acme.mcp.test,\r\n",
            BadAddress,
        ),
        (
            "userinfo in the host",
            LINE,
            "Host: user@acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "a host that is the userinfo of another",
            LINE,
            "Host: acme.mcp.test@evil.test\r\n",
            BadAddress,
        ),
        (
            "userinfo with a port",
            LINE,
            "Host: acme.mcp.test:80@evil.test\r\n",
            BadAddress,
        ),
        (
            "a path behind the host",
            LINE,
            "Host: acme.mcp.test/x\r\n",
            BadAddress,
        ),
        (
            "a query behind the host",
            LINE,
            "Host: acme.mcp.test?x\r\n",
            BadAddress,
        ),
        (
            "a fragment behind the host",
            LINE,
            "Host: evil.test#.mcp.test\r\n",
            BadAddress,
        ),
        (
            "a backslash in the host",
            LINE,
            "Host: evil.test\\acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "a scheme before the host",
            LINE,
            "Host: https://acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "a space inside of the host",
            LINE,
            "Host: acme.mcp.test evil.test\r\n",
            BadAddress,
        ),
        (
            "a tab inside of the host",
            LINE,
            "Host: acme\t.mcp.test\r\n",
            BadAddress,
        ),
        (
            "a percent escape in the host",
            LINE,
            "Host: acme%2emcp.test\r\n",
            BadAddress,
        ),
        (
            "an escaped NUL in the host",
            LINE,
            "Host: acme%00.mcp.test\r\n",
            BadAddress,
        ),
        (
            "a NUL in the host",
            LINE,
            "Host: acme\0.mcp.test\r\n",
            BadAddress,
        ),
        (
            "a dot behind the host",
            LINE,
            "Host: acme.mcp.test.\r\n",
            BadAddress,
        ),
        (
            "a dot before the host",
            LINE,
            "Host: .acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "two dots in the host",
            LINE,
            "Host: acme..mcp.test\r\n",
            BadAddress,
        ),
        (
            "a label of 64 characters",
            LINE,
            "Host: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.mcp.test\r\n",
            BadAddress,
        ),
        (
            "an empty port",
            LINE,
            "Host: acme.mcp.test:\r\n",
            BadAddress,
        ),
        (
            "a port that is no number",
            LINE,
            "Host: acme.mcp.test:http\r\n",
            BadAddress,
        ),
        (
            "a signed port",
            LINE,
            "Host: acme.mcp.test:+80\r\n",
            BadAddress,
        ),
        (
            "a negative port",
            LINE,
            "Host: acme.mcp.test:-1\r\n",
            BadAddress,
        ),
        (
            "a port past 16 bits",
            LINE,
            "Host: acme.mcp.test:65616\r\n",
            BadAddress,
        ),
        (
            "two ports",
            LINE,
            "Host: acme.mcp.test:80:81\r\n",
            BadAddress,
        ),
        (
            "an IPv6 address without brackets",
            LINE,
            "Host: ::1\r\n",
            BadAddress,
        ),
        (
            "a bracket that is never closed",
            LINE,
            "Host: [::1\r\n",
            BadAddress,
        ),
        ("an IPv6 address", LINE, "Host: [::1]:80\r\n", BadAddress),
        ("an IPv4 address", LINE, "Host: 127.0.0.1\r\n", BadAddress),
        ("a foreign host", LINE, "Host: evil.test\r\n", BadAddress),
        (
            "the domain without a workspace",
            LINE,
            "Host: mcp.test\r\n",
            BadAddress,
        ),
        (
            "a host that only ends as the domain does",
            LINE,
            "Host: acmemcp.test\r\n",
            BadAddress,
        ),
        (
            "a host that begins as the workspace's does",
            LINE,
            "Host: acme.mcp.test.evil.test\r\n",
            BadAddress,
        ),
        (
            "two labels under the domain",
            LINE,
            "Host: a.acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "a label that is no workspace id",
            LINE,
            "Host: ac_me.mcp.test\r\n",
            BadAddress,
        ),
        (
            "the right host in X-Forwarded-Host alone",
            LINE,
            "Host: evil.test\r\nX-Forwarded-Host: acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "the right host in Forwarded alone",
            LINE,
            "Host: evil.test\r\nForwarded: host=acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "the right host in X-Host and X-Original-Host",
            LINE,
            "Host: evil.test\r\nX-Host: acme.mcp.test\r\nX-Original-Host: acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "another workspace's host",
            LINE,
            "Host: other.mcp.test\r\n",
            InvalidToken,
        ),
        (
            "another workspace's host, the right one forwarded",
            LINE,
            "Host: other.mcp.test\r\nX-Forwarded-Host: acme.mcp.test\r\n",
            InvalidToken,
        ),
        (
            "a workspace that does not exist",
            LINE,
            "Host: nobody.mcp.test\r\n",
            InvalidToken,
        ),
        (
            "an absolute target of another host",
            "GET http://other.mcp.test/mcp HTTP/1.1",
            "Host: acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "an absolute target of the right host, another in Host",
            "GET http://acme.mcp.test/mcp HTTP/1.1",
            "Host: other.mcp.test\r\n",
            BadAddress,
        ),
        (
            "an absolute target of another port",
            "GET http://acme.mcp.test:81/mcp HTTP/1.1",
            "Host: acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "an absolute target without Host",
            "GET http://acme.mcp.test/mcp HTTP/1.1",
            "",
            BadAddress,
        ),
        (
            "an absolute target with userinfo",
            "GET http://u@acme.mcp.test/mcp HTTP/1.1",
            "Host: acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "an absolute target and Host with userinfo",
            "GET http://u@acme.mcp.test/mcp HTTP/1.1",
            "Host: u@acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "an absolute target with two hosts in Host",
            "GET http://acme.mcp.test/mcp HTTP/1.1",
            "Host: acme.mcp.test\r\nHost: acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "the target of a proxy",
            "CONNECT other.mcp.test:80 HTTP/1.1",
            "Host: acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "HTTP/1.0 without a host",
            "GET /mcp HTTP/1.0",
            "",
            BadAddress,
        ),
        (
            "HTTP/1.0 with an absolute target and no Host",
            "GET http://acme.mcp.test/mcp HTTP/1.0",
            "",
            BadAddress,
        ),
        (
            "a space before the colon of Host",
            LINE,
            "Host : acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "a Host that is folded over two lines",
            LINE,
            "Host: evil.test\r\n acme.mcp.test\r\n",
            BadAddress,
        ),
        (
            "a Host that is indented",
            LINE,
            " Host: acme.mcp.test\r\n",
            BadAddress,
        ),
    ]
}

/// Requests whose end two readers could see in two places. The last answer counts: a request that was
/// smuggled behind a good one has no credential of its own and never borrows one.
fn smuggled(token: &str) -> Vec<(&'static str, String, Expected)> {
    use Expected::{BadAddress, NoCredential};
    let head = |more: &str| {
        format!(
            "POST /mcp HTTP/1.1\r\nHost: acme.mcp.test\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
        )
    };
    let hidden = "GET /mcp HTTP/1.1\r\nHost: acme.mcp.test\r\nConnection: close\r\n\r\n";
    let length = hidden.len();
    vec![
        (
            "a second request without a credential",
            format!("{}{hidden}", head("")),
            NoCredential,
        ),
        (
            "a body that is a request",
            format!("{}x{hidden}", head("Content-Length: 1\r\n")),
            NoCredential,
        ),
        (
            "two different lengths",
            format!(
                "{}{hidden}",
                head(&format!(
                    "Content-Length: 0\r\nContent-Length: {length}\r\nConnection: close\r\n"
                ))
            ),
            BadAddress,
        ),
        (
            "a length with a sign",
            format!(
                "{}{hidden}",
                head("Content-Length: +0\r\nConnection: close\r\n")
            ),
            BadAddress,
        ),
        (
            "a list of lengths",
            format!(
                "{}{hidden}",
                head(&format!(
                    "Content-Length: 0, {length}\r\nConnection: close\r\n"
                ))
            ),
            BadAddress,
        ),
        (
            "a transfer coding that is not known",
            format!(
                "{}{hidden}",
                head("Transfer-Encoding: xchunked\r\nConnection: close\r\n")
            ),
            BadAddress,
        ),
        (
            "chunked that is not last",
            format!(
                "{}{hidden}",
                head("Transfer-Encoding: chunked, identity\r\nConnection: close\r\n")
            ),
            BadAddress,
        ),
        (
            "a space before the colon of a length",
            format!(
                "{}{hidden}",
                head(&format!(
                    "Content-Length : {length}\r\nConnection: close\r\n"
                ))
            ),
            BadAddress,
        ),
        (
            "a line feed in the credential",
            format!(
                "GET /mcp HTTP/1.1\r\nHost: acme.mcp.test\r\nAuthorization: Bearer x\nX: {token}\r\nConnection: close\r\n\r\n"
            ),
            Expected::InvalidToken,
        ),
        (
            "a NUL in the credential",
            format!(
                "GET /mcp HTTP/1.1\r\nHost: acme.mcp.test\r\nAuthorization: Bearer {token}\0\r\nConnection: close\r\n\r\n"
            ),
            BadAddress,
        ),
    ]
}
