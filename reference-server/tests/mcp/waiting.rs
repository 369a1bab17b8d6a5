//! `getTask` with `waitSeconds`: stays open until there is something new, in both eras.

use std::time::Duration;

use serde_json::json;
use tokio::{task::JoinHandle, time::Instant};

use crate::client::{Agent, ERAS, Era, World};

/// Begins a call that has to wait, and gives it the time to get there.
async fn begin(agent: &Agent, arguments: serde_json::Value) -> JoinHandle<String> {
    let agent = agent.clone();
    let call = tokio::spawn(async move { agent.text("getTask", arguments).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!call.is_finished());
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_task_wakes_one_that_waits() {
    let world = World::new();
    let other = world.home.create_workspace("other");
    for era in ERAS {
        let agent = world.agent(era).await;
        let call = begin(&agent, json!({ "waitSeconds": 50 })).await;
        // What is not for it does not wake it.
        world.add_task(&other, "not here");
        let human = json!({ "title": "for people", "body": "", "assignee": "human" });
        agent.text("createTask", human).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!call.is_finished());
        let id = world.add_task(&world.acme, "wake up");
        let text = call.await.unwrap();
        assert!(
            text.starts_with(&format!("Next assigned task:\nID: {id}\n")),
            "{text}"
        );
        assert!(text.contains("Status: ongoing"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_to_one_of_those_who_wait() {
    let world = World::new();
    let mut calls = Vec::new();
    for era in ERAS {
        let agent = world.agent(era).await;
        calls.push(begin(&agent, json!({ "waitSeconds": 2 })).await);
    }
    world.add_task(&world.acme, "only one");
    let mut texts = Vec::new();
    for call in calls {
        texts.push(call.await.unwrap());
    }
    texts.sort();
    assert!(texts[0].starts_with("Next assigned task:"), "{texts:?}");
    assert_eq!(texts[1], "no pending tasks exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_message_wakes_who_waits_for_it() {
    let world = World::new();
    let task = world.add_task(&world.acme, "talk");
    let another = world.add_task(&world.acme, "another");
    for era in ERAS {
        let agent = world.agent(era).await;
        let call = begin(&agent, json!({ "taskId": task, "waitSeconds": 50 })).await;
        agent
            .text("reply", json!({ "chatId": task, "text": "my own" }))
            .await;
        world.say(&world.acme, &another, "elsewhere");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!call.is_finished());
        world.say(&world.acme, &task, "go on");
        let text = call.await.unwrap();
        assert!(text.starts_with("Task details:\n"), "{text}");
        assert!(text.contains("] human: go on\nNext cursor: "), "{text}");
        assert!(
            !text.contains("my own") && !text.contains("elsewhere"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_message_after_the_cursor_needs_no_waiting() {
    let world = World::new();
    let task = world.add_task(&world.acme, "talk");
    let first = world.say(&world.acme, &task, "first");
    let agent = world.agent(Era::Modern).await;
    agent
        .text("reply", json!({ "chatId": task, "text": "mine" }))
        .await;
    let second = world.say(&world.acme, &task, "second");
    let begun = Instant::now();
    let arguments = json!({ "taskId": task, "cursor": first, "waitSeconds": 50 });
    let text = agent.text("getTask", arguments).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(
        text.ends_with(&format!("] human: second\nNext cursor: {second}")),
        "{text}"
    );
    // From there on there is nothing.
    let arguments = json!({ "taskId": task, "cursor": second, "waitSeconds": 1 });
    let text = agent.text("getTask", arguments).await;
    assert!(!text.contains("second"), "{text}");
}

#[tokio::test]
async fn waiting_ends_with_its_time() {
    let world = World::new();
    for era in ERAS {
        let agent = world.agent(era).await;
        let begun = Instant::now();
        let text = agent.text("getNextTask", json!({ "waitSeconds": 1 })).await;
        assert_eq!(text, "no pending tasks exist");
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_went_away_takes_no_task() {
    for era in ERAS {
        let world = World::new();
        let gone = world.agent(era).await;
        let call = begin(&gone, json!({ "waitSeconds": 50 })).await;
        call.abort();
        let _ = call.await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let id = world.add_task(&world.acme, "for whoever is there");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let agent = world.agent(era).await;
        let text = agent.text("getTask", json!({})).await;
        assert!(text.contains(&id), "{era:?}: {text}");
    }
}
