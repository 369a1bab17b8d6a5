//! The public listener: hosts, credentials, and what is not there.

use std::{io::Read as _, time::Duration};

use crate::common::{Home, Stopwatch};

#[test]
fn a_workspace_has_three_urls_and_two_ways_to_send_the_token() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let bearer = format!("Bearer {}", workspace.secret);
    let own = format!("{}.mcp.localhost:{}", workspace.id, server.port());
    let path = format!("/mcp/{}", workspace.id);
    for (host, path) in [
        (server.address(), path.as_str()),
        (&own, "/mcp"),
        (&own, "/"),
    ] {
        let by_header = [("host", host), ("authorization", &bearer)];
        let admitted = server.ask("POST", path, &by_header);
        assert!(
            ![400, 401, 403, 404].contains(&admitted.status),
            "{host}{path}: {admitted:?}"
        );
        let in_query = format!("{path}?token={}", workspace.secret);
        let by_query = server.ask("POST", &in_query, &[("host", host)]);
        assert_eq!(by_query.status, admitted.status);
        let without = server.ask("POST", path, &[("host", host)]);
        assert_eq!(without.status, 401);
        assert!(without.head.contains("www-authenticate: Bearer"));
    }
}

#[test]
fn answers_for_no_host_but_its_own() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let bearer = format!("Bearer {}", workspace.secret);
    let path = format!("/mcp/{}", workspace.id);
    let foreign = [
        "evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "mcp.localhost",
        "127.0.0.1, evil.example",
        "user@127.0.0.1",
        "",
    ];
    for host in foreign {
        for path in [
            path.as_str(),
            "/",
            "/register",
            "/.well-known/oauth-authorization-server",
        ] {
            let answer = server.ask("POST", path, &[("host", host), ("authorization", &bearer)]);
            assert_eq!(answer.status, 400, "{host:?}{path}: {answer:?}");
        }
    }
    let other = home.create_workspace("other");
    let own = format!("{}.mcp.localhost", other.id);
    let contradiction = server.ask("POST", &path, &[("host", &own), ("authorization", &bearer)]);
    assert_eq!(contradiction.status, 400);
    let doubled = format!(
        "POST {path} HTTP/1.1\r\nhost: {0}\r\nhost: {0}\r\nconnection: close\r\n\r\n",
        server.address()
    );
    assert_eq!(server.send(&doubled).status, 400);
    let missing = format!("POST {path} HTTP/1.1\r\nconnection: close\r\n\r\n");
    assert_eq!(server.send(&missing).status, 400);
    // The positive control of all of these.
    assert!(server.admits(&workspace.id, &workspace.secret));
}

#[test]
fn two_credentials_are_refused() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let bearer = format!("Bearer {}", workspace.secret);
    let target = format!("/mcp/{0}?token={1}", workspace.id, workspace.secret);
    let both = server.ask("POST", &target, &[("authorization", &bearer)]);
    assert_eq!(both.status, 400);
    assert!(!both.body.contains(&workspace.secret[..20]));
}

#[test]
fn health_is_told_to_any_host() {
    let home = Home::new();
    let server = home.serve();
    for path in ["/livez", "/readyz"] {
        let answer = server.ask("GET", path, &[("host", "10.1.2.3:8080")]);
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    }
}

#[test]
fn discovery_is_answered_at_once_and_repeats_nothing() {
    let home = Home::new().with_variable("WST_LOG", "trace");
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let id = &workspace.id;
    let described = format!("/.well-known/oauth-protected-resource/mcp/{id}");
    let watch = Stopwatch::start();
    for (path, expected) in [
        (described.as_str(), 200),
        ("/.well-known/oauth-protected-resource", 404),
        ("/.well-known/oauth-protected-resource/mcp/NOT-AN-ID", 404),
        ("/.well-known/oauth-authorization-server", 404),
        ("/.well-known/openid-configuration", 404),
        ("/nothing/here", 404),
        ("/api/v1/workspaces", 401),
    ] {
        let target = format!("{path}?token={}&x=secret-query", workspace.secret);
        let answer = server.ask("GET", &target, &[]);
        assert_eq!(answer.status, expected, "{path}");
        assert!(answer.head.contains("application/json"), "{path}");
        let _: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert!(
            answer.head.contains("no-store") && answer.head.contains("no-referrer"),
            "{path}"
        );
        let all = format!("{}{}", answer.head, answer.body);
        assert!(!all.contains("secret-query") && !all.contains(&workspace.secret[90..120]));
    }
    assert!(watch.elapsed() < Duration::from_secs(2));
    let registered = format!("/register?token={}&x=secret-query", workspace.secret);
    let registered = server.ask("POST", &registered, &[("content-length", "0")]);
    assert!(registered.status == 400 && !registered.body.contains("secret-query"));
    let log = server.log();
    assert!(
        log.contains("/.well-known/..."),
        "it logs what is asked for"
    );
    assert!(!log.contains("secret-query") && !log.contains(&workspace.secret[90..106]));
    let described = server.ask("GET", &described, &[]);
    let described: serde_json::Value = serde_json::from_str(&described.body).unwrap();
    assert_eq!(described["resource"], *workspace.mcp_url);
}

#[test]
fn a_browser_that_asks_for_what_is_not_there_gets_a_page() {
    let home = Home::new();
    let server = home.serve();
    let answer = server.ask("GET", "/nothing/here", &[("accept", "text/html,*/*;q=0.8")]);
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("There is no such page."));
    assert!(answer.head.contains("content-security-policy") && answer.head.contains("no-store"));
}

#[test]
fn the_metadata_that_a_challenge_names_is_there_on_every_url_of_a_workspace() {
    let home = Home::new();
    let server = home.serve();
    let id = home.create_workspace("acme").id;
    let own = format!("{id}.mcp.localhost:{}", server.port());
    for (host, target) in [
        (server.address(), format!("/mcp/{id}").as_str()),
        (&own, "/mcp"),
        (&own, "/"),
    ] {
        let ask = |method: &str, target: &str| {
            server.send(&format!(
                "{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            ))
        };
        let refused = ask("POST", target);
        assert_eq!(refused.status, 401, "{host}{target}");
        let (_, named) = refused.head.split_once("resource_metadata=\"").unwrap();
        let url = named.split_once('"').unwrap().0;
        let path = url.strip_prefix(&format!("http://{host}")).unwrap();
        let described = ask("GET", path);
        assert_eq!(described.status, 200, "{url}");
        let described: serde_json::Value = serde_json::from_str(&described.body).unwrap();
        assert_eq!(described["resource"], format!("http://{host}{target}"));
    }
    let stranger = server.send(
        "GET /.well-known/oauth-protected-resource/mcp HTTP/1.1\r\nhost: evil.test\r\nconnection: close\r\n\r\n",
    );
    assert_eq!(stranger.status, 400);
}

#[test]
fn registration_is_refused_in_the_words_of_rfc_7591() {
    let home = Home::new();
    let server = home.serve();
    let answer = server.ask("POST", "/register", &[("content-length", "0")]);
    assert_eq!(answer.status, 400);
    let error: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(error["error"], "invalid_client_metadata");
    assert!(error["error_description"].is_string());
}

/// A login opens the API, on the server's own hosts; a workspace token opens it nowhere.
#[test]
fn a_workspace_token_opens_no_api() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let bearer = format!("Bearer {}", workspace.secret);
    let cookie = format!("wst={}", workspace.secret);
    let own = format!("{}.mcp.localhost", workspace.id);
    for (host, expected) in [(server.address(), 401), (&own, 404)] {
        for credential in [("authorization", &bearer), ("cookie", &cookie)] {
            // Behind a workspace's own host the token layer comes first, and sees no cookie.
            let expected = match (expected, credential.0) {
                (404, "cookie") => 401,
                _ => expected,
            };
            let headers = [("host", host), (credential.0, credential.1.as_str())];
            let answer = server.ask("GET", "/api/v1/workspaces", &headers);
            assert_eq!(answer.status, expected, "{host} {}", credential.0);
            assert!(!answer.body.contains("acme"));
        }
    }
}

#[test]
fn a_head_that_never_ends_is_cut_off() {
    use std::io::Write as _;
    let home = Home::new();
    let server = home.serve();
    let mut stream = server.connect();
    stream
        .write_all(b"POST /mcp HTTP/1.1\r\nhost: x\r\n")
        .unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(25)))
        .unwrap();
    let watch = Stopwatch::start();
    let mut rest = Vec::new();
    // Closed, with an answer or without one; a timeout of ours would be an error.
    stream.read_to_end(&mut rest).unwrap();
    assert!(watch.elapsed() < Duration::from_secs(20));
}
