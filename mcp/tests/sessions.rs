//! The era with sessions: session tokens in place of rmcp's ids, and what is answered without one.

mod common;

use common::*;
use http::{Method, StatusCode};
use serde_json::json;
use tower_workspace_token_mcp::Protocol;

#[tokio::test]
async fn a_session_is_a_token_of_ours_and_carries_calls() {
    let app = App::new().await;
    let session = app.initialize().await;
    assert_eq!(session.split('.').count(), 3, "{session}");
    assert!(session.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
    let answer = answer(app.in_session(&session, &call(1, "whoami")).await).await;
    assert_eq!(answer["id"], 1);
    assert_eq!(text_of(&answer), "acme");
}

#[tokio::test]
async fn nothing_behind_the_layers_sees_a_credential() {
    let app = App::new().await;
    let session = app.initialize().await;
    answer(app.in_session(&session, &call(1, "parts")).await).await;
    let seen = app.trace.parts.lock().unwrap().clone();
    assert!(seen.starts_with("/mcp/acme "), "{seen}");
    assert!(!seen.to_lowercase().contains("authorization"), "{seen}");
    assert!(
        !seen.contains(&app.token) && !seen.contains(&session),
        "{seen}"
    );

    // The same with the token in the query.
    let mut request = http::Request::new(http_body_util::Full::new(
        call(2, "parts").to_string().into(),
    ));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("/mcp/acme?token={}", app.token).parse().unwrap();
    for (name, value) in [
        ("host", "localhost"),
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("mcp-session-id", &*session),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    answer(app.raw(request).await).await;
    let seen = app.trace.parts.lock().unwrap().clone();
    assert!(
        !seen.contains(&app.token) && !seen.contains("token="),
        "{seen}"
    );
}

#[tokio::test]
async fn every_unknown_session_gets_the_same_404() {
    let app = App::new().await;
    let other = App::new().await;
    let foreign = other.initialize().await;
    let ended = app.initialize().await;
    let headers = [("mcp-session-id", &*ended)];
    let response = app.send(Method::DELETE, &headers, "").await;
    assert!(response.status().is_success());
    let mut answers = Vec::new();
    for session in [
        "x",
        "550e8400-e29b-41d4-a716-446655440000",
        &*foreign,
        &*ended,
        &app.token,
    ] {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let headers = [("mcp-session-id", session)];
            let response = app
                .send(method, &headers, call(1, "whoami").to_string())
                .await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{session}");
            let headers = format!("{:?}", response.headers());
            answers.push((headers, text(response).await));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn a_missing_session_is_a_400_with_advice() {
    let app = App::new().await;
    for message in [
        call(7, "whoami"),
        json!({ "jsonrpc": "2.0", "id": 7, "method": "ping" }),
    ] {
        let response = app
            .post(&[("mcp-protocol-version", "2025-11-25")], &message)
            .await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let answer = answer(response).await;
        assert_eq!(answer["id"], 7);
        assert!(
            answer["error"]["message"]
                .as_str()
                .unwrap()
                .contains("initialize")
        );
    }
    for method in [Method::GET, Method::DELETE] {
        let response = app.send(method, &[], "").await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    }
    let twice = [("mcp-session-id", "a"), ("mcp-session-id", "a")];
    let response = app.post(&twice, &call(1, "whoami")).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

/// rmcp takes it for a call of another name, and asks for the session that it would have opened.
#[tokio::test]
async fn an_initialize_that_cannot_be_read_is_told_what_is_wrong() {
    for protocol in [Protocol::Dual, Protocol::Legacy] {
        let app = App::with(|service| service.with_protocol(protocol)).await;
        for (member, value, expected) in [
            ("protocolVersion", json!(7), "protocolVersion is no string"),
            ("capabilities", json!(null), "capabilities is no object"),
            ("clientInfo", json!({ "name": "t" }), "clientInfo.version"),
        ] {
            let mut message = initialize_message("test");
            message["params"][member] = value;
            let response = app.post(&[], &message).await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{member}");
            assert!(response.headers().get("mcp-session-id").is_none());
            let answer = answer(response).await;
            assert_eq!(answer["id"], message["id"]);
            assert_eq!(answer["error"]["code"], -32602, "{member}");
            let said = answer["error"]["message"].as_str().unwrap();
            assert!(said.contains(expected), "{said}");
            assert!(!said.contains("Mcp-Session-Id"), "{said}");
        }
        let mut notification = initialize_message("test");
        notification.as_object_mut().unwrap().remove("id");
        let answer = answer(app.post(&[], &notification).await).await;
        assert_eq!(answer["error"]["code"], -32600);
        let said = answer["error"]["message"].as_str().unwrap();
        assert!(said.contains("has no id"), "{said}");
    }
}

/// rmcp would serve it by itself, as it does those of the era without sessions.
#[tokio::test]
async fn a_call_that_says_all_of_itself_is_in_no_session_either() {
    for protocol in [Protocol::Dual, Protocol::Legacy] {
        let app = App::with(|service| service.with_protocol(protocol)).await;
        let mut message = call(7, "whoami");
        message["params"]["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2025-11-25",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        });
        let response = app
            .post(&[("mcp-protocol-version", "2025-11-25")], &message)
            .await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{protocol:?}");
        let answer = answer(response).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("Mcp-Session-Id"), "{message}");
    }
}

#[tokio::test]
async fn a_session_opened_under_a_newer_version_is_counted_like_any() {
    let app = App::new().await;
    let mut message = initialize_message("test");
    message["params"]["protocolVersion"] = json!("2026-07-28");
    let response = app
        .post(&[("mcp-protocol-version", "2026-07-28")], &message)
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    let session = session_of(&response);
    let answer = answer(response).await;
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
    let receipt = app.rotate().await;
    assert_eq!(receipt.ended.sessions, 1, "{session}");
}

#[tokio::test]
async fn a_notification_is_accepted_and_reaches_the_handler() {
    let app = App::new().await;
    let session = app.initialize().await;
    let notification = json!({
        "jsonrpc": "2.0", "method": "notifications/claude/channel/permission_request",
        "params": { "request_id": "abcde", "tool_name": "Bash", "description": "", "input_preview": "" },
    });
    let response = app.in_session(&session, &notification).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    for _ in 0..200 {
        if app.trace.notified.load(std::sync::atomic::Ordering::SeqCst) == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    panic!("the handler was not told");
}

#[tokio::test]
async fn what_is_no_json_is_a_parse_error() {
    let app = App::new().await;
    let session = app.initialize().await;
    for (body, code) in [
        ("{", -32700),
        ("", -32700),
        ("\u{0}", -32700),
        ("[]", -32600),
        ("7", -32600),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32600),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#,
            -32600,
        ),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","Method":"ping","id":1}"#, -32600),
        ("{}", -32600),
    ] {
        let headers = [("mcp-session-id", &*session)];
        let response = app.send(Method::POST, &headers, body).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{body}");
        let answer = answer(response).await;
        assert_eq!(answer["error"]["code"], code, "{body}");
    }
}

#[tokio::test]
async fn a_session_that_is_unknown_is_said_before_the_body_is_judged() {
    let app = App::new().await;
    let headers = [("mcp-session-id", "unknown")];
    let response = app.send(Method::POST, &headers, "{").await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn refusals_of_rmcp_become_errors_with_advice() {
    let app = App::new().await;
    let session = app.initialize().await;
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
    for (method, header, status) in [
        (Method::POST, ("accept", "application/json"), 406),
        (Method::POST, ("content-type", "text/plain"), 415),
        (Method::POST, ("mcp-protocol-version", "1999-01-01"), 400),
        (Method::PUT, ("x", "y"), 405),
    ] {
        let headers = [header, ("mcp-session-id", &session)];
        let response = app.send(method, &headers, ping.clone()).await;
        assert_eq!(response.status(), status, "{headers:?}");
        let answer = answer(response).await;
        assert!(
            answer["error"]["message"].as_str().unwrap().len() > 20,
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused() {
    let app = App::with(|mcp| mcp.with_body_limit(1000)).await;
    let mut message = initialize_message("test");
    message["params"]["clientInfo"]["title"] = json!("x".repeat(1000));
    let response = app.post(&[], &message).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let answer = answer(response).await;
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("1000")
    );
    app.initialize().await;
}

#[tokio::test]
async fn the_idlest_session_makes_room_for_a_new_one() {
    let app = App::with(|mcp| mcp.with_sessions_per_token(1)).await;
    let first = app.initialize().await;
    let second = app.initialize().await;
    let call = call(1, "whoami");
    assert_eq!(
        app.in_session(&first, &call).await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        app.in_session(&second, &call).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_legacy_service_sends_newer_clients_back_to_initialize() {
    let app = App::with(|mcp| mcp.with_protocol(Protocol::Legacy)).await;
    for message in [
        json!({ "jsonrpc": "2.0", "id": 3, "method": "server/discover", "params": {} }),
        call(3, "whoami"),
    ] {
        let response = app.modern(&message).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let answer = answer(response).await;
        assert_eq!(answer["id"], 3);
        assert_eq!(answer["error"]["code"], -32022);
        let supported = answer["error"]["data"]["supported"].as_array().unwrap();
        assert!(supported.contains(&json!("2025-11-25")), "{answer}");
        assert!(!supported.contains(&json!("2026-07-28")), "{answer}");
    }
    let session = app.initialize().await;
    let response = app.in_session(&session, &call(1, "whoami")).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn shutting_down_ends_streams() {
    let kept = std::sync::Mutex::new(None);
    let app = App::with(|mcp| {
        *kept.lock().unwrap() = Some(mcp.clone());
        mcp
    })
    .await;
    let session = app.initialize().await;
    let stream = app.get(&session).await;
    assert_eq!(stream.status(), StatusCode::OK);
    kept.lock().unwrap().take().unwrap().shut_down();
    text(stream).await;
}
