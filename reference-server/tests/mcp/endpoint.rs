//! What the server says of itself, and where it is found.

use http::StatusCode;
use rustix::process::Signal;
use serde_json::json;

use crate::client::{ERAS, Era, World, answer};

#[tokio::test]
async fn says_what_clients_look_for_in_both_eras() {
    let world = World::new();
    let mut legacy = world.agent(Era::Legacy).await;
    let modern = world.agent(Era::Modern).await;
    let discovered = answer(modern.request(1, "server/discover", json!({})).await).await;
    for answer in [legacy.initialize().await, discovered] {
        let result = &answer["result"];
        let channels = json!({ "claude/channel": {}, "claude/channel/permission": {} });
        assert_eq!(result["capabilities"]["experimental"], channels, "{answer}");
        assert!(result["capabilities"]["tools"].is_object());
        let instructions = result["instructions"].as_str().unwrap();
        assert!(instructions.len() < 1024 && instructions.contains("getTask"));
    }
}

#[tokio::test]
async fn lists_its_tools_with_schemas_that_every_client_understands() {
    let world = World::new();
    for era in ERAS {
        let agent = world.agent(era).await;
        let answer = answer(agent.request(1, "tools/list", json!({})).await).await;
        let tools = answer["result"]["tools"].as_array().unwrap();
        let names: Vec<_> = tools
            .iter()
            .map(|tool| tool["name"].as_str().unwrap())
            .collect();
        let expected = [
            "getWorkspace",
            "getTask",
            "getNextTask",
            "listTasks",
            "createTask",
            "updateTaskStatus",
            "reply",
            "downloadAttachment",
            "getAttachment",
        ];
        assert_eq!(names, expected);
        for tool in tools {
            assert_eq!(tool["inputSchema"]["type"], "object");
            let properties = tool["inputSchema"]["properties"].as_object();
            for (name, property) in properties.into_iter().flatten() {
                // A list of types is more than some clients can read.
                assert!(property["type"].is_string(), "{name}: {property}");
                assert!(property["description"].is_string(), "{name}: {property}");
            }
        }
        // Nor can some follow a reference.
        assert!(!answer.to_string().contains("$ref"), "{answer}");
        let create = &tools[4]["inputSchema"];
        assert_eq!(create["required"], json!(["title", "body"]));
        let file = &create["properties"]["attachments"]["items"];
        assert_eq!(file["required"], json!(["filename", "data"]));
    }
}

#[tokio::test]
async fn answers_at_all_three_urls_of_a_workspace() {
    let world = World::new();
    let id = &world.acme.id;
    let port = world.server.port();
    for era in ERAS {
        let agent = world.agent(era).await;
        for url in [
            format!("http://127.0.0.1:{port}/mcp/{id}"),
            format!("http://{id}.mcp.localhost:{port}/mcp"),
            format!("http://{id}.mcp.localhost:{port}/"),
        ] {
            let text = agent.at(&url).text("getWorkspace", json!({})).await;
            assert!(text.starts_with("Workspace: acme\n"), "{url}: {text}");
        }
    }
}

#[tokio::test]
async fn accepts_a_permission_request() {
    let world = World::new();
    let agent = world.agent(Era::Legacy).await;
    let request = json!({
        "request_id": "abcde",
        "tool_name": "Bash",
        "description": "run it",
        "input_preview": "a secret thing",
    });
    let method = "notifications/claude/channel/permission_request";
    assert_eq!(agent.notify(method, request).await, StatusCode::ACCEPTED);
    agent.text("getWorkspace", json!({})).await;
    assert!(!world.server.log().contains("a secret thing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_within_five_seconds_with_streams_and_waiting_calls_open() {
    let world = World::new();
    let legacy = world.agent(Era::Legacy).await;
    let modern = world.agent(Era::Modern).await;
    let mut stream = legacy.listen().await;
    let wait = json!({ "waitSeconds": 50 });
    let waiting = [legacy, modern].map(|agent| {
        let wait = wait.clone();
        tokio::spawn(async move { agent.text("getTask", wait).await })
    });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let stopped = tokio::task::spawn_blocking(move || world.server.stop(Signal::TERM));
    assert_eq!(stream.next().await, None);
    let (code, took) = stopped.await.unwrap();
    assert_eq!(code, Some(0));
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    // A call without an answer would make clients hang.
    for call in waiting {
        assert_eq!(call.await.unwrap(), "no pending tasks exist");
    }
}
