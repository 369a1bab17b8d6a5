//! The permission relay: an agent asks, a person answers, and that very session is told.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    client::{Agent, Era, World},
    common::text,
};

const REQUEST: &str = "notifications/claude/channel/permission_request";
const PERMISSION: &str = "notifications/claude/channel/permission";

async fn ask(agent: &Agent, request: &str, tool: &str) {
    let params = json!({
        "request_id": request,
        "tool_name": tool,
        "description": "Run a command",
        "input_preview": "{\"command\":\"ls\"}",
    });
    assert_eq!(agent.notify(REQUEST, params).await, StatusCode::ACCEPTED);
}

impl World {
    /// Returns the approvals of the workspace, newest first, once there are `count`.
    async fn approvals(&self, count: usize) -> Vec<Value> {
        for _ in 0..100 {
            let (_, found) = self.approvals_path(Method::GET, "", None).await;
            let approvals = found["approvals"].as_array().unwrap().clone();
            if approvals.len() == count {
                return approvals;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("there are not {count} approvals");
    }

    /// Waits until the newest approval is in `state`.
    async fn becomes(&self, count: usize, state: &str) -> Value {
        for _ in 0..100 {
            let newest = self.approvals(count).await.remove(0);
            if newest["state"] == state {
                return newest;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("it does not become {state}");
    }

    async fn answer(&self, approval: &Value, answer: &str) -> (StatusCode, Value) {
        let path = format!("/{}/answer", text(&approval["id"]));
        let body = json!({ "answer": answer });
        self.approvals_path(Method::POST, &path, Some(body)).await
    }

    async fn approvals_path(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let path = format!("/workspaces/{}/approvals{path}", self.acme.id);
        self.operate(method, &path, body).await
    }
}

fn verdict(request: &str, behavior: &str) -> Value {
    json!({
        "jsonrpc": "2.0",
        "method": PERMISSION,
        "params": { "request_id": request, "behavior": behavior },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_reaches_the_session_that_asked_and_no_other() {
    let world = World::new();
    let (agent, sibling) = (
        world.agent(Era::Legacy).await,
        world.agent(Era::Legacy).await,
    );
    let (mut stream, mut other) = (agent.listen().await, sibling.listen().await);
    ask(&agent, "abcde", "Bash").await;
    // The same id in another session is another request.
    ask(&sibling, "abcde", "Write").await;
    let mut approvals = world.approvals(2).await;
    approvals.sort_by_key(|approval| text(&approval["tool"]));
    let approval = &approvals[0];
    assert_eq!(approval["state"], "pending");
    assert_eq!(approval["agent"], "primary");
    assert_eq!(approval["tool"], "Bash");
    assert_eq!(approval["preview"], "{\"command\":\"ls\"}");
    let (status, answered) = world.answer(approval, "allow").await;
    assert_eq!(status, 200, "{answered}");
    assert_eq!(answered["approval"]["state"], "allowed");
    assert_eq!(answered["approval"]["answered_by"], "command line");
    assert_eq!(stream.soon().await, Some(verdict("abcde", "allow")));
    other.assert_silent().await;

    let (status, again) = world.answer(approval, "deny").await;
    assert_eq!(
        (status, text(&again["error"]["code"])),
        (StatusCode::CONFLICT, "conflict".to_owned())
    );
    stream.assert_silent().await;
    let (status, _) = world.answer(&approvals[1], "deny").await;
    assert_eq!(status, 200);
    assert_eq!(other.soon().await, Some(verdict("abcde", "deny")));
    stream.assert_silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_workspace_answers_nothing() {
    let world = World::new();
    let other = world.home.create_workspace("other");
    let agent = world.agent(Era::Legacy).await;
    let mut stream = agent.listen().await;
    ask(&agent, "abcde", "Bash").await;
    let approval = world.approvals(1).await.remove(0);
    let path = format!(
        "/workspaces/{}/approvals/{}/answer",
        other.id,
        text(&approval["id"])
    );
    let body = json!({ "answer": "allow" });
    let (status, _) = world.operate(Method::POST, &path, Some(body)).await;
    assert_eq!(status, 404);
    stream.assert_silent().await;
    world.becomes(1, "pending").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_answers_at_once_until_it_is_removed() {
    let world = World::new();
    let agent = world.agent(Era::Legacy).await;
    let mut stream = agent.listen().await;
    let task = world.add_task(&world.acme, "work");
    stream.soon().await;
    agent.text("getTask", json!({})).await;
    ask(&agent, "first", "Bash").await;
    let approval = world.approvals(1).await.remove(0);
    assert_eq!(approval["task"], *task);
    world.answer(&approval, "always").await;
    assert_eq!(stream.soon().await, Some(verdict("first", "allow")));

    ask(&agent, "second", "Bash").await;
    assert_eq!(stream.soon().await, Some(verdict("second", "allow")));
    let approval = world.becomes(2, "allowed").await;
    assert_eq!(approval["by_rule"], true);
    let path = format!("/workspaces/{}/tasks/{task}", world.acme.id);
    let (_, shown) = world.operate(Method::GET, &path, None).await;
    let last = shown["timeline"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(last["what"], "approval_answered", "{shown}");
    assert_eq!(
        (&last["before"], &last["after"]),
        (&json!("Bash"), &json!("allowed by rule"))
    );
    // Another tool is asked for.
    ask(&agent, "third", "Write").await;
    world.becomes(3, "pending").await;

    let (_, list) = world.approvals_path(Method::GET, "", None).await;
    let rule = &list["rules"][0];
    assert_eq!(
        (&rule["agent"], &rule["tool"]),
        (&json!("primary"), &json!("Bash"))
    );
    let path = format!(
        "/workspaces/{}/rules/{}/remove",
        world.acme.id,
        text(&rule["id"])
    );
    let (status, _) = world.operate(Method::POST, &path, None).await;
    assert_eq!(status, 200);
    ask(&agent, "fourth", "Bash").await;
    world.becomes(4, "pending").await;
    stream.assert_silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_closes_what_the_old_generation_asked() {
    let mut world = World::new();
    let agent = world.agent(Era::Legacy).await;
    let _stream = agent.listen().await;
    ask(&agent, "abcde", "Bash").await;
    let approval = world.approvals(1).await.remove(0);
    let rotated = world.rotate();
    // At once, whether or not the session's end has been written by then.
    let (status, refused) = world.answer(&approval, "allow").await;
    assert_eq!(status, StatusCode::CONFLICT);
    let message = text(&refused["error"]["message"]);
    assert!(message.contains("went away"), "{message}");
    world.becomes(1, "gone").await;
    world.acme.secret = text(&rotated["secret"]);
    let new = world.agent(Era::Legacy).await;
    let mut stream = new.listen().await;
    let (status, _) = world.answer(&approval, "allow").await;
    assert_eq!(status, StatusCode::CONFLICT);
    stream.assert_silent().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_session_closes_what_it_asked() {
    let world = World::new();
    let agent = world.agent(Era::Legacy).await;
    ask(&agent, "abcde", "Bash").await;
    world.approvals(1).await;
    agent.end().await;
    let approval = world.becomes(1, "gone").await;
    let (status, _) = world.answer(&approval, "allow").await;
    assert_eq!(status, StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_server_closes_it_too() {
    let world = World::new();
    let agent = world.agent(Era::Legacy).await;
    ask(&agent, "abcde", "Bash").await;
    world.approvals(1).await;
    let world = world.restarted();
    world.becomes(1, "gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_a_bounded_number_of_open_requests() {
    let world = World::new();
    let agent = world.agent(Era::Legacy).await;
    for number in 0..40 {
        ask(&agent, &format!("r{number}"), "Bash").await;
    }
    world.approvals(32).await;
    // Nor does one of an id that is open already count twice, or one without an id at all.
    agent.notify(REQUEST, json!({ "tool_name": "Bash" })).await;
    agent.notify(REQUEST, json!([])).await;
    world.approvals(32).await;
    let (_, needs) = world
        .operate(
            Method::GET,
            &format!("/workspaces/{}/needs-you", world.acme.id),
            None,
        )
        .await;
    assert_eq!(needs["count"], 32);
    assert_eq!(needs["needs"][0]["kind"], "approval");
}
