//! The settings of a workspace, as its agents feel them.

use http::{Method, StatusCode};
use serde_json::json;

use crate::client::{Era, World, answer};

impl World {
    pub(crate) async fn set(&self, body: serde_json::Value) {
        let path = format!("/workspaces/{}/settings", self.acme.id);
        let (status, answer) = self.operate(Method::POST, &path, Some(body)).await;
        assert_eq!(status, 200, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_told_what_a_workspace_is_for() {
    let world = World::new();
    world
        .set(json!({ "name": "Acme", "description": "Keep the tests green.\nAsk first." }))
        .await;
    let agent = world.agent(Era::Modern).await;
    let shown = agent.text("getWorkspace", json!({})).await;
    assert!(
        shown.starts_with(
            "Workspace: Acme\nDescription: Keep the tests green.\nAsk first.\n\nTask Statistics:"
        ),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_protocol_counts_from_the_next_request_on() {
    let world = World::new();
    let other = world.home.create_workspace("other");
    let modern = world.agent(Era::Modern).await;
    modern.text("getWorkspace", json!({})).await;
    let old = world.agent(Era::Legacy).await;
    world.set(json!({ "protocol": "legacy" })).await;
    let response = modern.begin_call(1, "getWorkspace", json!({})).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(answer(response).await["error"]["code"], -32022);
    // The session of before is unknown, and the client initializes again.
    let response = old.begin_call(2, "getWorkspace", json!({})).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let legacy = world.agent(Era::Legacy).await;
    legacy.text("getWorkspace", json!({})).await;
    let elsewhere = world.agent_of(&other, Era::Modern).await;
    elsewhere.text("getWorkspace", json!({})).await;
    world.set(json!({ "protocol": "dual" })).await;
    modern.text("getWorkspace", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_outlives_a_restart() {
    let world = World::new();
    world.set(json!({ "protocol": "legacy" })).await;
    let world = world.restarted();
    let modern = world.agent(Era::Modern).await;
    let response = modern.begin_call(1, "getWorkspace", json!({})).await;
    assert_eq!(answer(response).await["error"]["code"], -32022);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_deleted_by_its_name_after_it_was_archived() {
    let world = World::new();
    let agent = world.agent(Era::Modern).await;
    let task = world.add_task(&world.acme, "gone soon");
    let file = json!({ "filename": "a.txt", "data": "aGVsbG8K" });
    let arguments = json!({ "chatId": task, "text": "see", "attachments": [file] });
    agent.text("reply", arguments).await;
    let path = format!("/workspaces/{}", world.acme.id);
    let delete = |name: &str| {
        let (path, name) = (format!("{path}/delete"), name.to_owned());
        let world = &world;
        async move {
            let body = json!({ "confirm": name });
            world
                .operate(Method::POST, &path, Some(body))
                .await
                .0
                .as_u16()
        }
    };
    assert_eq!(delete("acme").await, 409);
    let archive = format!("{path}/archive");
    assert_eq!(world.operate(Method::POST, &archive, None).await.0, 200);
    assert_eq!(delete("other").await, 400);
    assert_eq!(world.operate(Method::GET, &path, None).await.0, 200);
    assert_eq!(delete("acme").await, 200);
    assert_eq!(world.operate(Method::GET, &path, None).await.0, 404);
    let response = agent.begin_call(1, "getWorkspace", json!({})).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
