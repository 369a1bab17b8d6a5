//! The era without sessions, from 2026-07-28 on.

mod common;

use common::*;
use http::{Method, StatusCode};
use serde_json::json;

#[tokio::test]
async fn a_request_stands_alone() {
    let app = App::new().await;
    let response = app.modern(&call(1, "whoami")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(response.headers(), "mcp-session-id"), None);
    assert_eq!(text_of(&answer(response).await), "acme");
}

#[tokio::test]
async fn a_stale_session_id_is_of_no_account() {
    let app = App::new().await;
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "whoami"),
        ("mcp-session-id", "stale"),
    ];
    let mut message = call(1, "whoami");
    message["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let response = app.post(&headers, &message).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(response.headers(), "mcp-session-id"), None);
}

#[tokio::test]
async fn discovery_names_both_eras() {
    let app = App::new().await;
    let discover = json!({ "jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {} });
    let answer = answer(app.modern(&discover).await).await;
    let versions = answer["result"]["supportedVersions"].as_array().unwrap();
    assert!(versions.contains(&json!("2026-07-28")), "{answer}");
    assert!(versions.contains(&json!("2025-11-25")), "{answer}");
}

#[tokio::test]
async fn get_and_delete_have_no_meaning() {
    let app = App::new().await;
    for method in [Method::GET, Method::DELETE] {
        let response = app
            .send(method, &[("mcp-protocol-version", "2026-07-28")], "")
            .await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn nothing_behind_the_layers_sees_a_credential() {
    let app = App::new().await;
    answer(app.modern(&call(1, "parts")).await).await;
    let seen = app.trace.parts.lock().unwrap().clone();
    assert!(seen.starts_with("/mcp/acme "), "{seen}");
    assert!(!seen.contains(&app.token) && !seen.to_lowercase().contains("authorization"));
}

#[tokio::test]
async fn methods_that_it_has_no_more_are_not_found() {
    let app = App::new().await;
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
    ] {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": {} });
        let response = app.modern(&message).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{method}");
        assert_eq!(header(response.headers(), "mcp-session-id"), None);
        assert_eq!(answer(response).await["error"]["code"], -32601, "{method}");
    }
}
