//! Who is connected, what tokens are used for, and which old ones are still tried, as the API tells it.

use std::time::Duration;

use http::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    client::{Era, World},
    common::{Workspace, text},
};

impl World {
    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(Method::GET, path).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn ask(&self, method: Method, path: &str) -> (StatusCode, Value) {
        self.ask_of(&self.acme, method, path).await
    }

    async fn ask_of(
        &self,
        workspace: &Workspace,
        method: Method,
        path: &str,
    ) -> (StatusCode, Value) {
        let path = format!("/workspaces/{}{path}", workspace.id);
        self.operate(method, &path, None).await
    }

    async fn connections(&self) -> Vec<Value> {
        let answer = self.get("/connections").await;
        answer["connections"].as_array().unwrap().clone()
    }

    async fn token(&self) -> Value {
        self.get("/tokens").await["tokens"][0].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_listed_and_can_be_ended() {
    let world = World::new();
    assert_eq!(world.connections().await, [] as [Value; 0]);
    let mut agent = world
        .agent(Era::Modern)
        .await
        .called("claude-code", "2.1.330")
        .legacy();
    agent.initialize().await;
    let mut stream = agent.listen().await;
    agent.text("getWorkspace", json!({})).await;
    let connections = world.connections().await;
    assert_eq!(connections.len(), 1);
    let connection = &connections[0];
    assert_eq!(connection["words"], "Claude Code 2.1.330 at 127.0.0.1");
    assert_eq!(connection["client_name"], "claude-code");
    assert_eq!(connection["era"], "legacy");
    assert_eq!(connection["token"], "primary");
    assert_eq!(connection["generation"], 1);
    assert_eq!(
        (&connection["calls"], &connection["streams"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(world.token().await["connections"], 1);

    let path = format!("/connections/{}/end", text(&connection["id"]));
    let other = world.home.create_workspace("other");
    let (status, _) = world.ask_of(&other, Method::POST, &path).await;
    assert_eq!(status, 404, "it is not one of that workspace's");
    assert_eq!(world.connections().await.len(), 1);
    let (status, ended) = world.ask(Method::POST, &path).await;
    assert_eq!(
        (status, &ended["connection"]["id"]),
        (StatusCode::OK, &connection["id"])
    );
    assert_eq!(stream.soon().await, None);
    let response = agent.begin_call(1, "getWorkspace", json!({})).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(world.connections().await, [] as [Value; 0]);
    let (status, error) = world.ask(Method::POST, &path).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("not_found"))
    );
    // Its token is as good as before.
    agent.initialize().await;
    agent.text("getWorkspace", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_sessions_is_listed_and_cannot_be_ended() {
    let world = World::new();
    let agent = world.agent(Era::Modern).await.called("codex", "9");
    for _ in 0..2 {
        agent.text("getWorkspace", json!({})).await;
    }
    let connections = world.connections().await;
    assert_eq!(connections.len(), 1, "{connections:?}");
    assert_eq!(connections[0]["era"], "modern");
    assert_eq!(connections[0]["words"], "Codex 9 at 127.0.0.1");
    assert_eq!(connections[0]["calls"], 2);
    let path = format!("/connections/{}/end", text(&connections[0]["id"]));
    let (status, error) = world.ask(Method::POST, &path).await;
    assert_eq!(
        (status, &error["error"]["code"]),
        (StatusCode::CONFLICT, &json!("conflict"))
    );
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("regenerate its token"), "{message}");
    world.rotate();
    assert_eq!(world.connections().await, [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_call_keeps_its_client_connected() {
    let world = World::new();
    let agent = world.agent(Era::Legacy).await;
    let call = tokio::spawn(async move {
        let wait = json!({ "waitSeconds": 50 });
        agent.begin_call(1, "getTask", wait).await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.connections().await[0]["running"], 1);
    drop(call.await.unwrap());
    for _ in 0..100 {
        if world.connections().await[0]["running"] == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", world.connections().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_retries_of_an_old_token_leave_a_trail_and_its_client_comes_back() {
    let world = World::new();
    let mut agent = world
        .agent(Era::Legacy)
        .await
        .called("claude-code", "2.1.330");
    agent.initialize().await;
    let rotated = world.rotate();
    assert_eq!(rotated["sessions_ended"], 2, "under both of its names");
    assert_eq!(world.connections().await, [] as [Value; 0]);
    let cut_at = text(&world.token().await["created_at"]);
    let clients = format!("/tokens/primary/clients?since={cut_at}");
    let cut = world.get(&clients).await;
    for client in cut["clients"].as_array().unwrap() {
        assert_eq!(client["is_back"], false);
        assert_eq!(client["cut_generation"], 1, "{client}");
        assert_eq!(client["was_idle"], false);
    }

    for _ in 0..3 {
        let response = agent.begin_call(1, "getWorkspace", json!({})).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    // Garbage leaves none.
    for garbage in ["nonsense", "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"] {
        assert_eq!(world.server.status_of(&world.acme.id, garbage), 401);
    }
    let rejected = world.get("/tokens/rejected").await;
    let rejected = rejected["rejected"].as_array().unwrap();
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    assert_eq!(
        rejected[0]["words"],
        "old token tried 3 times from 127.0.0.1, Claude Code 2.1.330"
    );
    assert_eq!(rejected[0]["token"], "primary");
    assert_eq!(rejected[0]["generation"], 1);
    assert_eq!(rejected[0]["version"], "2.1.330");
    let hours = world.get("/activity").await;
    let hours = hours["hours"].as_array().unwrap();
    assert_eq!(hours.len(), 48);
    let sum = |field: &str| -> u64 {
        let all = hours.iter().map(|hour| hour[field].as_u64().unwrap());
        all.sum()
    };
    // Two sessions were opened.
    assert_eq!((sum("calls"), sum("rejections")), (2, 5));

    let mut agent = agent.with_token(&text(&rotated["secret"]));
    agent.initialize().await;
    let clients = world.get(&clients).await;
    assert_eq!(clients["generation"], 2);
    assert_eq!(
        clients["clients"][0]["words"],
        "Claude Code 2.1.330 at 127.0.0.1"
    );
    assert_eq!(clients["clients"][0]["is_back"], true);
    assert_eq!(clients["clients"][0]["is_connected"], true);
    assert_eq!(clients["connections"].as_array().unwrap().len(), 1);
    // It was there under its other name, too, and has not come back under that.
    assert_eq!(clients["clients"][1]["client"], "test");
    assert_eq!(clients["clients"][1]["is_back"], false);

    // Who was not connected was not cut off, though it comes with the new token.
    let newcomer = agent.with_token(&text(&rotated["secret"]));
    let mut newcomer = newcomer.called("newcomer", "1");
    newcomer.initialize().await;
    newcomer.text("getWorkspace", json!({})).await;
    let clients = world.get("/tokens/primary/clients").await;
    let newcomer = &clients["clients"][0];
    assert_eq!(newcomer["client"], "newcomer");
    assert_eq!(newcomer["cut_generation"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_of_a_token_is_told_and_outlives_the_server() {
    let world = World::new();
    let token = world.token().await;
    assert_eq!(token["last_used"], Value::Null);
    assert_eq!(token["last_used_at"], Value::Null);
    assert_eq!(token["created_by"], "command line");
    world.agent(Era::Legacy).await;
    let token = world.token().await;
    let last_used = &token["last_used"];
    assert_eq!(last_used["at"], token["last_used_at"]);
    assert_eq!(last_used["client"], "test");
    assert_eq!(last_used["version"], "1");
    assert_eq!(last_used["address"], "127.0.0.1");
    // A stop writes what is not written yet.
    let agent = world.agent(Era::Modern).await.called("last", "7");
    agent.text("getWorkspace", json!({})).await;
    let World { home, server, acme } = world;
    server.stop(Signal::TERM);
    let server = home.serve();
    let mut world = World { home, server, acme };
    let token = world.token().await;
    assert_eq!(token["last_used"]["client"], "last");
    assert_eq!(token["connections"], 0);
    world.acme.secret = text(&world.rotate()["secret"]);
    let token = world.token().await;
    assert_eq!(token["last_used"], Value::Null, "of this generation");
    assert_eq!(token["generation"], 2);
    let before = &token["last_used_before"];
    assert_eq!(before["generation"], 1);
    assert_eq!(
        (&before["client"], &before["version"], &before["address"]),
        (&json!("last"), &json!("7"), &json!("127.0.0.1"))
    );
    assert!(text(&before["at"]).ends_with('Z'));
    let list = ["token", "list", "--workspace", &world.acme.id];
    let shown = world.home.run(&list).stdout;
    assert!(
        shown.contains("last used never (generation 1 was last used 20"),
        "{shown}"
    );
    assert!(shown.contains(" by last 7 at 127.0.0.1)"), "{shown}");

    // A revoked token is asked the same.
    let path = "/tokens/primary/revoke";
    let agent = world.agent(Era::Modern).await.called("thief", "1");
    agent.text("getWorkspace", json!({})).await;
    let (status, _) = world.ask(Method::POST, path).await;
    assert_eq!(status, 200);
    let before = &world.token().await["last_used_before"];
    assert_eq!(
        (&before["generation"], &before["client"]),
        (&json!(2), &json!("thief"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_let_in_has_used_a_token_though_no_tool_was_reached() {
    let world = World::new();
    let status = world.server.status_of(&world.acme.id, &world.acme.secret);
    assert_ne!(status, 401);
    world.rotate();
    let before = &world.token().await["last_used_before"];
    assert_eq!(before["generation"], 1);
    assert!(text(&before["at"]).ends_with('Z'), "{before}");
    assert_eq!(before["client"], Value::Null);
}
