//! Files that come with tasks and messages: from agents, from people, and never from elsewhere.

use http::Method;
use serde_json::json;

use crate::{
    client::{ERAS, Era, World},
    common::text,
};

/// `hello\n`
const HELLO: &str = "aGVsbG8K";
const UNKNOWN: &str = "There is no attachment with this id in this task. Call getTask with the taskId to see those there are.";

/// Returns the ids of the attachments that getTask lists.
fn ids(shown: &str) -> Vec<String> {
    let (_, list) = shown.split_once("getAttachment:\n").expect(shown);
    let lines = list.lines().take_while(|line| !line.is_empty());
    lines.map(|line| line[..11].to_owned()).collect()
}

#[tokio::test]
async fn an_agents_files_come_back_as_they_were() {
    let world = World::new();
    for era in ERAS {
        let agent = world.agent(era).await;
        let file = json!({ "filename": "../log.txt", "mimeType": "text/plain", "data": HELLO });
        let arguments = json!({ "title": "x", "body": "x", "attachments": [file] });
        let created = agent.text("createTask", arguments).await;
        let task = created.strip_prefix("task created with id=").unwrap();
        let other = json!({ "name": "a.png", "contentType": "image/png", "data": "iVBORw0KGgo=" });
        let arguments = json!({ "chatId": task, "text": "see", "attachments": [other] });
        agent.text("reply", arguments).await;
        let shown = agent.text("getTask", json!({ "taskId": task })).await;
        assert!(
            shown.contains("  log.txt (text/plain, 6 bytes)\n"),
            "{shown}"
        );
        assert!(shown.contains("  a.png (image/png, 8 bytes)"), "{shown}");
        let ids = ids(&shown);
        let first = json!({ "taskId": task, "attachmentId": ids[0] });
        assert_eq!(agent.text("downloadAttachment", first.clone()).await, HELLO);
        let seen = agent.text("getAttachment", first).await;
        assert!(
            seen.ends_with("log.txt (text/plain, 6 bytes)\n\nhello\n"),
            "{seen}"
        );
        let second = json!({ "taskId": task, "attachmentId": ids[1] });
        let data = agent.text("downloadAttachment", second).await;
        assert_eq!(data, "iVBORw0KGgo=");
    }
}

#[tokio::test]
async fn another_tenants_attachment_is_not_read_by_a_chosen_id() {
    let world = World::new();
    let other = world.home.create_workspace("other");
    let agent = world.agent(Era::Legacy).await;
    let file = json!({ "filename": "secret.txt", "data": HELLO });
    let arguments = json!({ "title": "x", "body": "x", "attachments": [file] });
    let created = agent.text("createTask", arguments).await;
    let task = created.strip_prefix("task created with id=").unwrap();
    let shown = agent.text("getTask", json!({ "taskId": task })).await;
    let id = ids(&shown).remove(0);
    let arguments = json!({ "taskId": task, "attachmentId": id });

    let stranger = world.agent_of(&other, Era::Legacy).await;
    let own = world.add_task(&other, "own");
    for tool in ["downloadAttachment", "getAttachment"] {
        // The positive control of what follows.
        agent.text(tool, arguments.clone()).await;
        assert_eq!(stranger.refusal(tool, arguments.clone()).await, UNKNOWN);
        let by_own_task = json!({ "taskId": own, "attachmentId": id });
        assert_eq!(stranger.refusal(tool, by_own_task).await, UNKNOWN);
    }
    // Nor by another task of the same workspace.
    let second = world.add_task(&world.acme, "second");
    let by_second = json!({ "taskId": second, "attachmentId": id });
    assert_eq!(
        agent.refusal("downloadAttachment", by_second).await,
        UNKNOWN
    );
    let path = |workspace: &str, task: &str| {
        format!("/workspaces/{workspace}/tasks/{task}/attachments/{id}")
    };
    let (status, found) = world
        .operate(Method::GET, &path(&world.acme.id, task), None)
        .await;
    assert_eq!((status.as_u16(), &found["data"]), (200, &json!(HELLO)));
    for path in [
        path(&other.id, task),
        path(&other.id, &own),
        path(&world.acme.id, &second),
    ] {
        let (status, _) = world.operate(Method::GET, &path, None).await;
        assert_eq!(status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_persons_file_reaches_the_agent() {
    let world = World::new();
    let task = world.add_task(&world.acme, "look at this");
    let path = format!("/workspaces/{}/tasks/{task}/messages", world.acme.id);
    let file = json!({ "name": "notes.md", "data": HELLO });
    let body = json!({ "text": "here", "attachments": [file] });
    let (status, _) = world.operate(Method::POST, &path, Some(body)).await;
    assert_eq!(status, 200);
    let agent = world.agent(Era::Modern).await;
    let shown = agent.text("getTask", json!({ "taskId": task })).await;
    assert!(
        shown.contains("notes.md (text/markdown, 6 bytes)"),
        "{shown}"
    );
    let task_path = format!("/workspaces/{}/tasks/{task}", world.acme.id);
    let (_, shown) = world.operate(Method::GET, &task_path, None).await;
    let attachment = &shown["attachments"][0];
    assert_eq!(attachment["message"], shown["messages"][0]["id"]);
    assert_eq!(text(&attachment["author_name"]), "command line");
}

#[tokio::test]
async fn the_largest_files_that_are_allowed_fit_into_a_call() {
    let world = World::new();
    for era in ERAS {
        let agent = world.agent(era).await;
        let task = world.add_task(&world.acme, "logs");
        // A mebibyte is no multiple of three, so there is padding.
        let megabyte = format!("{}YQ==", "YWFh".repeat(1024 * 1024 / 3));
        let file = json!({ "filename": "a.log", "data": megabyte });
        let text = "\u{1}".repeat(64 * 1024);
        let arguments = json!({ "chatId": task, "text": text, "attachments": [file, file] });
        assert_eq!(agent.text("reply", arguments).await, "reply sent");
        let larger = json!({ "filename": "a.log", "data": format!("{megabyte}YQ==") });
        let larger = json!({ "chatId": task, "text": "x", "attachments": [larger] });
        agent.refusal("reply", larger).await;
    }
}

#[tokio::test]
async fn a_refused_file_leaves_no_message() {
    let world = World::new();
    let agent = world.agent(Era::Modern).await;
    let task = world.add_task(&world.acme, "x");
    for file in [
        json!({ "filename": "a.png", "mimeType": "image/png", "data": HELLO }),
        json!({ "filename": "a.exe", "mimeType": "application/x-msdownload", "data": HELLO }),
        json!({ "filename": "a.txt", "data": "?" }),
        json!({ "filename": "a.txt", "data": "" }),
        json!({}),
    ] {
        let arguments = json!({ "chatId": task, "text": "x", "attachments": [file] });
        agent.refusal("reply", arguments).await;
    }
    let arguments = json!({ "taskId": task, "includeConversation": true });
    let shown = agent.text("getTask", arguments).await;
    assert!(shown.ends_with("(no messages)"), "{shown}");
    assert!(!shown.contains("Attachments"), "{shown}");
}
