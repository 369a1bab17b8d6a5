//! What people add is pushed to the sessions of their workspace, on the stream of a GET.

use serde_json::json;

use crate::client::{Era, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_task_and_message_are_pushed() {
    let world = World::new();
    let agent = world.agent(Era::Legacy).await;
    let mut stream = agent.listen().await;
    let task = world.add_task(&world.acme, "Fix it");
    let event = stream.soon().await.unwrap();
    assert_eq!(event["jsonrpc"], "2.0");
    assert_eq!(event["method"], "notifications/claude/channel");
    assert_eq!(event.get("id"), None);
    assert_eq!(event["params"]["content"], "New task: Fix it\n\nall of it");
    let meta = event["params"]["meta"].as_object().unwrap();
    let names: Vec<_> = meta.keys().map(String::as_str).collect();
    assert_eq!(names, ["chat_id", "message_id", "ts", "user"]);
    assert!(meta.values().all(|value| value.is_string()));
    assert_eq!(meta["chat_id"], *task);
    assert_eq!(meta["user"], "human");
    assert!(meta["ts"].as_str().unwrap().ends_with('Z'));

    let message = world.say(&world.acme, &task, "hurry up");
    let event = stream.soon().await.unwrap();
    assert_eq!(event["params"]["content"], "hurry up");
    assert_eq!(event["params"]["meta"]["chat_id"], *task);
    assert_eq!(event["params"]["meta"]["message_id"], *message);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_of_the_workspace_is_told_and_no_other() {
    let world = World::new();
    let other = world.home.create_workspace("other");
    let mut streams = Vec::new();
    for _ in 0..2 {
        streams.push(world.agent(Era::Legacy).await.listen().await);
    }
    let mut stranger = world.agent_of(&other, Era::Legacy).await.listen().await;
    world.add_task(&world.acme, "for acme");
    for stream in &mut streams {
        let event = stream.soon().await.unwrap();
        assert_eq!(
            event["params"]["content"],
            "New task: for acme\n\nall of it"
        );
    }
    stranger.assert_silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_agents_add_and_what_is_for_people_is_not_pushed() {
    let world = World::new();
    let agent = world.agent(Era::Legacy).await;
    let mut stream = agent.listen().await;
    let arguments = json!({ "title": "mine", "body": "" });
    agent.text("createTask", arguments).await;
    let workspace = ["--workspace", &world.acme.id];
    let task = [
        "task",
        "add",
        "--title",
        "x",
        "--body",
        "x",
        "--assignee",
        "human",
    ];
    world.home.json(&[&task[..], &workspace].concat());
    stream.assert_silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_the_stream_was_open_is_not_lost() {
    let world = World::new();
    let agent = world.agent(Era::Legacy).await;
    world.add_task(&world.acme, "early");
    let event = agent.listen().await.soon().await.unwrap();
    assert_eq!(event["params"]["content"], "New task: early\n\nall of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_while_the_stream_was_broken_off_is_sent_after_it() {
    let world = World::new();
    let agent = world.agent(Era::Legacy).await;
    let mut stream = agent.listen().await;
    world.add_task(&world.acme, "before");
    let event = stream.soon().await.unwrap();
    assert_eq!(event["params"]["content"], "New task: before\n\nall of it");
    drop(stream);
    let task = world.add_task(&world.acme, "meanwhile");
    let mut stream = agent.listen_after("0").await;
    // rmcp may send again what had come already; `message_id` tells a client so.
    let mut event = stream.soon().await.unwrap();
    if event["params"]["meta"]["chat_id"] != *task {
        event = stream.soon().await.unwrap();
    }
    assert_eq!(event["params"]["meta"]["chat_id"], *task);
}
