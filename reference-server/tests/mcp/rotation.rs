//! A rotation reaches streams, running calls and sessions, in both eras.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::{
    client::{ERAS, Era, World, answer},
    common::text,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_ends_and_the_session_is_gone() {
    let world = World::new();
    let agent = world.agent(Era::Legacy).await;
    let mut stream = agent.listen().await;
    let rotated = world.rotate();
    assert_eq!(rotated["sessions_ended"], 1);
    assert_eq!(rotated["streams_severed"], 1);
    assert_eq!(stream.soon().await, None);
    let response = agent.begin_call(1, "getWorkspace", json!({})).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let answer = answer(response).await;
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("regenerated"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_call_is_answered_and_takes_nothing_afterwards() {
    for era in ERAS {
        let world = World::new();
        let agent = world.agent(era).await;
        let call = tokio::spawn(async move {
            answer(
                agent
                    .begin_call(42, "getTask", json!({ "waitSeconds": 50 }))
                    .await,
            )
            .await
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.rotate();
        let answer = tokio::time::timeout(Duration::from_secs(2), call).await;
        let answer = answer.expect("an answer").unwrap();
        assert_eq!(answer["id"], 42, "{answer}");
        assert_eq!(answer["error"]["code"], -32001, "{answer}");
        // Whoever waited under the old token would have taken this.
        let task = world.add_task(&world.acme, "after the rotation");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let list = ["task", "list", "--workspace", &world.acme.id];
        let list = world.home.json(&list);
        assert_eq!(list["tasks"][0]["id"], *task);
        assert_eq!(list["tasks"][0]["status"], "notstarted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_pushed_to_an_old_session_and_the_new_token_works_at_once() {
    let mut world = World::new();
    let old = world.agent(Era::Legacy).await;
    let mut old_stream = old.listen().await;
    let rotated = world.rotate();
    world.acme.secret = text(&rotated["secret"]);
    let new = world.agent(Era::Legacy).await;
    let mut stream = new.listen().await;
    world.add_task(&world.acme, "for the new one");
    let event = stream.soon().await.unwrap();
    assert_eq!(
        event["params"]["content"],
        "New task: for the new one\n\nall of it"
    );
    assert_eq!(old_stream.soon().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_slot_goes_on() {
    let world = World::new();
    let id = world.acme.id.as_str();
    let second = world
        .home
        .json(&["token", "create", "--workspace", id, "--name", "second"]);
    let mut other = world.acme.clone();
    other.secret = text(&second["secret"]);
    let agent = world.agent_of(&other, Era::Legacy).await;
    let mut stream = agent.listen().await;
    world.rotate();
    stream.assert_silent().await;
    agent.text("getWorkspace", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn archiving_ends_everything_too() {
    let world = World::new();
    let agent = world.agent(Era::Legacy).await;
    let mut stream = agent.listen().await;
    world.home.json(&["workspace", "archive", &world.acme.id]);
    assert_eq!(stream.soon().await, None);
    let response = agent.begin_call(1, "getWorkspace", json!({})).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
