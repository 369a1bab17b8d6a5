//! Each tool: its texts, its refusals, and that it stays within its workspace.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::client::{Agent, ERAS, Era, World};

/// Creates a task and returns its id.
async fn create(agent: &Agent, title: &str) -> String {
    let arguments = json!({ "title": title, "body": "all of it" });
    let text = agent.text("createTask", arguments).await;
    let id = text.strip_prefix("task created with id=").expect(&text);
    assert_eq!(id.len(), 11);
    id.to_owned()
}

#[tokio::test]
async fn the_life_of_a_task() {
    let world = World::new();
    for era in ERAS {
        let agent = world.agent(era).await;
        let none = agent.text("getTask", json!({})).await;
        assert_eq!(none, "no pending tasks exist");
        let id = create(&agent, "Fix it").await;
        let details = |heading: &str, status: &str| {
            format!("{heading}\nID: {id}\nTitle: Fix it\nStatus: {status}\nDetails: all of it")
        };
        let shown = agent.text("getTask", json!({ "taskId": id })).await;
        assert_eq!(shown, details("Task details:", "notstarted"));
        let next = agent.text("getNextTask", json!({})).await;
        assert_eq!(next, details("Next assigned task:", "ongoing"));
        let sent = agent.text("reply", json!({ "chatId": id, "text": "on it" }));
        assert_eq!(sent.await, "reply sent");
        let arguments = json!({ "taskId": id, "status": "completed" });
        let updated = agent.text("updateTaskStatus", arguments).await;
        assert_eq!(updated, format!("task {id} updated to status=completed"));
        let shown = agent.text("getTask", json!({ "taskId": id })).await;
        assert_eq!(shown, details("Task details:", "completed"));
    }
}

#[tokio::test]
async fn the_workspace_shows_its_numbers() {
    let world = World::new();
    let agent = world.agent(Era::Modern).await;
    let ids = [create(&agent, "1").await, create(&agent, "2").await];
    agent.text("getTask", json!({})).await;
    let arguments = json!({ "taskId": ids[1], "status": "blocked" });
    agent.text("updateTaskStatus", arguments).await;
    create(&agent, "3").await;
    let text = agent.text("getWorkspace", json!({})).await;
    let expected = "Workspace: acme\nDescription: \n\nTask Statistics:\n- Not Started: 1\n- Ongoing: 1\n- Completed: 0\n- Blocked: 1\n- Rejected: 0";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn lists_tasks_by_state_and_page() {
    let world = World::new();
    let agent = world.agent(Era::Modern).await;
    assert_eq!(agent.text("listTasks", json!({})).await, "no tasks exist");
    let first = create(&agent, "first").await;
    let second = create(&agent, "second").await;
    let arguments = json!({ "title": "third", "body": "", "assignee": "human" });
    agent.text("createTask", arguments).await;
    let arguments = json!({ "taskId": first, "status": "rejected" });
    agent.text("updateTaskStatus", arguments).await;

    let page = agent.text("listTasks", json!({ "limit": 2 })).await;
    assert!(page.starts_with("Tasks, newest first:\n\nID: "), "{page}");
    assert!(page.contains("Title: third\nStatus: notstarted\nAssignee: human"));
    let (page, cursor) = page.split_once("\n\nNext cursor: ").expect(&page);
    assert!(page.ends_with(&format!(
        "\n\nID: {second}\nTitle: second\nStatus: notstarted\nAssignee: agent"
    )));
    let arguments = json!({ "limit": 2, "cursor": cursor });
    let page = agent.text("listTasks", arguments).await;
    let expected = format!(
        "Tasks, newest first:\n\nID: {first}\nTitle: first\nStatus: rejected\nAssignee: agent"
    );
    assert_eq!(page, expected);
    let rejected = agent
        .text("listTasks", json!({ "status": "rejected" }))
        .await;
    assert_eq!(rejected, expected);
}

#[tokio::test]
async fn shows_a_conversation_page_by_page() {
    let world = World::new();
    let agent = world.agent(Era::Legacy).await;
    let id = create(&agent, "talk").await;
    let empty = json!({ "taskId": id, "includeConversation": true });
    let text = agent.text("getTask", empty.clone()).await;
    assert!(text.ends_with("\n\nConversation:\n(no messages)"), "{text}");
    for number in 1..=7 {
        world.say(&world.acme, &id, &format!("message {number}"));
    }
    let text = agent.text("getTask", empty).await;
    assert!(text.contains("Z] human: message 1\n["), "{text}");
    assert!(
        text.contains("message 5") && !text.contains("message 6"),
        "{text}"
    );
    let (_, cursor) = text.split_once("\nNext cursor: ").expect(&text);
    let arguments = json!({ "taskId": id, "includeConversation": true, "cursor": cursor });
    let text = agent.text("getTask", arguments).await;
    assert!(
        text.contains("message 6") && text.contains("message 7"),
        "{text}"
    );
    assert!(!text.contains("message 5"), "{text}");
}

#[tokio::test]
async fn refuses_with_a_sentence_that_says_what_to_do() {
    let world = World::new();
    let agent = world.agent(Era::Modern).await;
    let id = create(&agent, "task").await;
    let unknown = "aaaaaaaaaaa";
    for (tool, arguments, part) in [
        ("createTask", json!({}), "missing field `title`"),
        (
            "createTask",
            json!({ "title": "x" }),
            "missing field `body`",
        ),
        (
            "createTask",
            json!({ "title": "", "body": "" }),
            "needs a title",
        ),
        (
            "createTask",
            json!({ "title": "x".repeat(201), "body": "" }),
            "200 characters",
        ),
        (
            "createTask",
            json!({ "title": "x", "body": "x".repeat(65 * 1024) }),
            "64 KiB",
        ),
        (
            "createTask",
            json!({ "title": "x", "body": "", "assignee": "me" }),
            "agent or human",
        ),
        (
            "createTask",
            json!({ "title": "x", "body": "", "attachments": [{}] }),
            "missing field `filename`",
        ),
        (
            "createTask",
            json!({ "title": "x", "body": "", "task_id": "x" }),
            "unknown field",
        ),
        (
            "createTask",
            json!({ "title": 7, "body": "" }),
            "invalid type",
        ),
        (
            "updateTaskStatus",
            json!({ "taskId": id, "status": "done" }),
            "a status is",
        ),
        (
            "updateTaskStatus",
            json!({ "taskId": unknown, "status": "ongoing" }),
            "listTasks",
        ),
        (
            "updateTaskStatus",
            json!({ "status": "ongoing" }),
            "missing field `taskId`",
        ),
        (
            "reply",
            json!({ "chatId": id, "text": " " }),
            "needs a text",
        ),
        (
            "reply",
            json!({ "chatId": unknown, "text": "x" }),
            "listTasks",
        ),
        (
            "reply",
            json!({ "chatId": "x", "text": "x" }),
            "11 characters",
        ),
        (
            "reply",
            json!({ "chatId": id, "text": "x", "attachments": ["a"] }),
            "invalid type",
        ),
        ("getTask", json!({ "taskId": unknown }), "listTasks"),
        ("getTask", json!({ "taskId": "../../x" }), "11 characters"),
        (
            "getTask",
            json!({ "taskId": id, "cursor": unknown }),
            "cursor is unknown",
        ),
        ("getTask", json!({ "taskId": id, "limit": 0 }), "1 to 100"),
        ("getTask", json!({ "taskid": id }), "unknown field"),
        ("getTask", json!({ "waitSeconds": 56 }), "0 to 55"),
        ("getTask", json!({ "waitSeconds": -1 }), "invalid value"),
        ("getNextTask", json!({ "waitSeconds": 1000 }), "0 to 55"),
        ("listTasks", json!({ "limit": 101 }), "1 to 100"),
        ("listTasks", json!({ "status": "done" }), "a status is"),
        (
            "listTasks",
            json!({ "cursor": unknown }),
            "cursor is unknown",
        ),
        ("getWorkspace", json!({ "id": "other" }), "unknown field"),
    ] {
        let sentence = agent.refusal(tool, arguments.clone()).await;
        assert!(sentence.contains(part), "{tool} {arguments}: {sentence}");
        assert!(sentence.to_lowercase().contains("call"), "{sentence}");
    }
    // Nothing of it was done.
    let text = agent.text("getWorkspace", json!({})).await;
    assert!(text.contains("- Not Started: 1\n- Ongoing: 0"), "{text}");
}

#[tokio::test]
async fn an_unknown_tool_is_an_error_of_the_protocol() {
    let world = World::new();
    for era in ERAS {
        let agent = world.agent(era).await;
        let response = agent.begin_call(1, "dropTables", json!({})).await;
        let answer = crate::client::answer(response).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
}

#[tokio::test]
async fn a_task_of_another_workspace_is_not_found() {
    let world = World::new();
    let other = world.home.create_workspace("other");
    let secret = world.add_task(&other, "secret");
    let message = world.say(&other, &secret, "secret message");
    for era in ERAS {
        let agent = world.agent(era).await;
        let calls: [(&str, Value); 5] = [
            ("getTask", json!({ "taskId": secret })),
            (
                "getTask",
                json!({ "taskId": secret, "waitSeconds": 1, "includeConversation": true }),
            ),
            (
                "updateTaskStatus",
                json!({ "taskId": secret, "status": "rejected" }),
            ),
            ("reply", json!({ "chatId": secret, "text": "x" })),
            ("getTask", json!({ "taskId": secret, "cursor": message })),
        ];
        for (tool, arguments) in calls {
            let sentence = agent.refusal(tool, arguments).await;
            assert!(
                sentence.starts_with("There is no task with this id"),
                "{sentence}"
            );
        }
        // Word for word what an id gets that nobody has.
        let nobodys = agent
            .refusal("getTask", json!({ "taskId": "aaaaaaaaaaa" }))
            .await;
        let others = agent.refusal("getTask", json!({ "taskId": secret })).await;
        assert_eq!(nobodys, others);
        let foreign_cursor = agent
            .refusal("listTasks", json!({ "cursor": secret }))
            .await;
        assert!(foreign_cursor.contains("cursor is unknown"));
        assert_eq!(agent.text("listTasks", json!({})).await, "no tasks exist");
        let none = agent.text("getTask", json!({})).await;
        assert_eq!(none, "no pending tasks exist");
    }
    let owner = world.agent_of(&other, Era::Modern).await;
    let arguments = json!({ "taskId": secret, "includeConversation": true });
    let text = owner.text("getTask", arguments).await;
    assert!(text.contains("Status: notstarted") && text.contains("secret message"));
    assert!(!text.contains("] agent:"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_never_get_the_same_task() {
    let world = World::new();
    let maker = world.agent(Era::Modern).await;
    let mut made = HashSet::new();
    for number in 0..24 {
        made.insert(create(&maker, &number.to_string()).await);
    }
    let mut takers = Vec::new();
    for number in 0..4 {
        let agent = world.agent(ERAS[number % 2]).await;
        takers.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            loop {
                let text = agent.text("getTask", json!({ "waitSeconds": 0 })).await;
                let Some((_, rest)) = text.split_once("\nID: ") else {
                    return taken;
                };
                taken.push(rest.split('\n').next().unwrap().to_owned());
            }
        }));
    }
    let mut taken = Vec::new();
    for taker in takers {
        taken.extend(taker.await.unwrap());
    }
    assert_eq!(taken.len(), made.len());
    assert_eq!(taken.into_iter().collect::<HashSet<_>>(), made);
}
