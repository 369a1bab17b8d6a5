//! Access tokens: where they are got, what they let in, and that they end with the token they come from.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    client::{Agent, ERAS, Era, World, answer},
    common::{Answer, Home, Server, text},
};

/// Asks for an access token at one of a workspace's URLs.
fn ask(server: &Server, host: &str, path: &str, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("host", host), ("authorization", &bearer)];
    server.ask("POST", path, &headers)
}

fn exchange(world: &World) -> String {
    let path = format!("/mcp/{}/token", world.acme.id);
    let host = world.server.address();
    let answer = ask(&world.server, host, &path, &world.acme.secret);
    assert_eq!(answer.status, 200, "{answer:?}");
    access_token(&answer)
}

fn access_token(answer: &Answer) -> String {
    let json: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(json["token_type"], "Bearer");
    assert_eq!(json["expires_in"], 900);
    text(&json["access_token"])
}

async fn with_access_token(world: &World, era: Era) -> Agent {
    let mut agent = world.agent(Era::Modern).await.with_token(&exchange(world));
    if era == Era::Legacy {
        agent = agent.legacy();
        agent.initialize().await;
    }
    agent
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_got_at_each_url_of_a_workspace_and_works_in_both_eras() {
    let world = World::new();
    let (id, port) = (&world.acme.id, world.server.port());
    let own = world.server.address().to_owned();
    let workspace = format!("{id}.mcp.localhost:{port}");
    for (host, path) in [
        (&own, format!("/mcp/{id}/token")),
        (&workspace, "/mcp/token".to_owned()),
        (&workspace, "/token".to_owned()),
    ] {
        let answer = ask(&world.server, host, &path, &world.acme.secret);
        assert_eq!(answer.status, 200, "{host}{path}: {answer:?}");
        let head = answer.head.to_ascii_lowercase();
        assert!(head.contains("cache-control: no-store"), "{head}");
        let access = access_token(&answer);
        for era in ERAS {
            let mut agent = world.agent(era).await.with_token(&access);
            if era == Era::Legacy {
                agent.initialize().await;
            }
            let described = agent.text("getWorkspace", json!({})).await;
            assert!(described.contains("acme"), "{described}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_headers_are_given_where_they_are_asked_for() {
    let world = World::new();
    let path = format!("/mcp/{}/token?as=headers", world.acme.id);
    let answer = ask(
        &world.server,
        world.server.address(),
        &path,
        &world.acme.secret,
    );
    let json: Value = serde_json::from_str(&answer.body).unwrap();
    let value = text(&json["Authorization"]);
    let access = value.strip_prefix("Bearer ").unwrap();
    assert!(world.server.admits(&world.acme.id, access));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_with_the_next_access_token_of_the_same_token() {
    let world = World::new();
    let agent = with_access_token(&world, Era::Legacy).await;
    // In the next second, so that it is another one.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let next = exchange(&world);
    let same_session = agent.with_token_in_session(&next);
    same_session.text("getWorkspace", json!({})).await;
    let parent = agent.with_token_in_session(&world.acme.secret);
    parent.text("getWorkspace", json!({})).await;
    let other = [
        "token",
        "create",
        "--workspace",
        &world.acme.id,
        "--name",
        "second",
    ];
    let other = text(&world.home.json(&other)["secret"]);
    let foreign = agent.with_token_in_session(&other);
    let response = foreign.begin_call(7, "getWorkspace", json!({})).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_began_ends_with_the_token_it_comes_from() {
    for era in ERAS {
        let world = World::new();
        let agent = with_access_token(&world, era).await;
        let waiting = agent.clone();
        let call = tokio::spawn(async move {
            let waits = json!({ "waitSeconds": 50 });
            answer(waiting.begin_call(42, "getTask", waits).await).await
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut stream = match era {
            Era::Legacy => Some(agent.listen().await),
            Era::Modern => None,
        };
        world.rotate();
        let answered = tokio::time::timeout(Duration::from_secs(2), call).await;
        let answered = answered.expect("an answer").unwrap();
        assert_eq!(answered["error"]["code"], -32001, "{answered}");
        if let Some(stream) = &mut stream {
            assert_eq!(stream.soon().await, None);
        }
        let response = agent.begin_call(43, "getWorkspace", json!({})).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let old = ask(
            &world.server,
            world.server.address(),
            &format!("/mcp/{}/token", world.acme.id),
            &world.acme.secret,
        );
        assert_eq!(old.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_good_for_the_mcp_endpoint_of_its_workspace_and_nothing_else() {
    let world = World::new();
    let access = exchange(&world);
    let bearer = format!("Bearer {access}");
    let authorization = [("authorization", bearer.as_str())];
    let id = &world.acme.id;
    let status = |method: &str, path: &str| world.server.ask(method, path, &authorization).status;
    let other = world.home.create_workspace("other").id;
    assert_eq!(status("POST", &format!("/mcp/{other}")), 401);
    assert_eq!(status("POST", &format!("/mcp/{id}/token")), 400);
    let anonymous = world.server.ask("GET", "/api/v1/workspaces", &[]).status;
    assert_eq!(status("GET", "/api/v1/workspaces"), anonymous);
    assert!((400..500).contains(&anonymous));
    for path in ["/", "/workspaces", &format!("/w/{id}")] {
        let without = world.server.ask("GET", path, &[]);
        let with = world.server.ask("GET", path, &authorization);
        assert_eq!(with.status, without.status, "{path}");
        assert!(!with.body.contains(id.as_str()));
        let cookie = format!("__Host-session={access}; session={access}");
        let with = world.server.ask("GET", path, &[("cookie", &cookie)]);
        assert_eq!(with.status, without.status, "{path}");
    }
    // Not by the URL, where the token itself is let in.
    let by_url = |path: &str, token: &str| {
        let target = format!("{path}?token={token}");
        world.server.ask("POST", &target, &[])
    };
    let path = format!("/mcp/{id}");
    assert_ne!(by_url(&path, &world.acme.secret).status, 401);
    assert_eq!(by_url(&path, &access).status, 401);
    let refused = by_url(&format!("{path}/token"), &world.acme.secret);
    assert_eq!(refused.status, 400);
    assert!(
        refused.body.contains("Authorization header"),
        "{}",
        refused.body
    );
    assert!(!world.server.log().contains(&access[access.len() - 20..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_workspace_gives_none() {
    let world = World::new();
    let access = exchange(&world);
    world.home.json(&["workspace", "archive", &world.acme.id]);
    let path = format!("/mcp/{}/token", world.acme.id);
    let answer = ask(
        &world.server,
        world.server.address(),
        &path,
        &world.acme.secret,
    );
    assert_eq!(answer.status, 401);
    assert!(!world.server.admits(&world.acme.id, &access));
}

/// Clients exchange a token every quarter of an hour, each: a row for each would bury what people look for.
#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_is_a_use_and_no_entry() {
    let home = Home::new();
    let server = home.serve_with(&["--admin-listen", "127.0.0.1:0", "--access-token-life", "60"]);
    let acme = home.create_workspace("acme");
    let audit = || home.run(&["audit", "tail"]).stdout;
    let before = audit();
    let list = ["token", "list", "--workspace", &acme.id];
    assert!(home.json(&list)["tokens"][0]["last_used_at"].is_null());
    for _ in 0..3 {
        let path = format!("/mcp/{}/token", acme.id);
        let answer = ask(&server, server.address(), &path, &acme.secret);
        let json: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(json["expires_in"], 60);
    }
    assert!(home.json(&list)["tokens"][0]["last_used_at"].is_string());
    assert_eq!(audit(), before);
    let metrics = server.metrics();
    assert!(metrics.contains("wst_exchanges_total 3"), "{metrics}");
}

#[test]
fn a_life_out_of_bounds_is_refused_before_the_server_starts() {
    let home = Home::new();
    for life in ["59", "3601", "0", "x", "15m"] {
        let done = home.serve_in_vain(&["--access-token-life", life]);
        assert_eq!(done.code, 2, "{life}: {}", done.stderr);
        assert!(
            done.stderr.contains("60 to 3600 seconds"),
            "{}",
            done.stderr
        );
    }
}

/// As every client does a quarter of an hour after the last exchange: it is no try to guess a token.
#[tokio::test(flavor = "multi_thread")]
async fn the_failure_limit_counts_what_is_no_token_of_ours_at_the_exchange_too() {
    let world = World::new();
    let path = format!("/mcp/{}/token", world.acme.id);
    let status = |token: &str| ask(&world.server, world.server.address(), &path, token).status;
    let mut refused = 0;
    while status("garbage") == 401 {
        refused += 1;
        assert!(refused < 1000, "nobody counts");
    }
    assert_eq!(status("garbage"), 429);
    assert_eq!(status(&world.acme.secret), 200);
}
