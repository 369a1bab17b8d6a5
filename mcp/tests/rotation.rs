//! What a rotation does to everything in flight, in both eras.

mod common;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use common::*;
use http::StatusCode;
use serde_json::{Value, json};
use tower_workspace_token_mcp::TOKEN_ENDED;

fn assert_says_that_the_token_ended(answer: &Value, id: &Value) {
    assert_eq!(&answer["id"], id, "{answer}");
    assert_eq!(answer["error"]["code"], TOKEN_ENDED.0);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("regenerated"), "{message}");
}

/// Nothing of `slow` may be left when `rotate` has returned, nor come later.
async fn assert_nothing_runs_on(app: &App) {
    assert_eq!(app.trace.gone.load(Ordering::SeqCst), 1);
    assert!(!app.trace.written.load(Ordering::SeqCst));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!app.trace.written.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_call_in_a_session_is_answered_and_its_handler_dropped() {
    let app = Arc::new(App::new().await);
    let session = app.initialize().await;
    let response = app.in_session(&session, &call(42, "slow")).await;
    let reader = tokio::spawn(answer(response));
    app.slow_has_begun().await;
    let receipt = app.rotate().await;
    assert_nothing_runs_on(&app).await;
    assert_eq!(receipt.ended.streams, 1);
    assert_eq!(receipt.ended.sessions, 1);
    assert_eq!(receipt.ended.left_behind, 0);
    assert_says_that_the_token_ended(&reader.await.unwrap(), &json!(42));
    let response = app.in_session(&session, &call(43, "whoami")).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_call_of_the_newer_era_is_answered_and_its_handler_dropped() {
    let app = Arc::new(App::new().await);
    let caller = tokio::spawn({
        let app = Arc::clone(&app);
        async move { app.modern(&call(42, "slow")).await }
    });
    app.slow_has_begun().await;
    let receipt = app.rotate().await;
    assert_nothing_runs_on(&app).await;
    assert_eq!(receipt.ended.calls, 1);
    assert_eq!(receipt.ended.left_behind, 0);
    let response = caller.await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_says_that_the_token_ended(&answer(response).await, &json!(42));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_no_handler_alive() {
    let app = App::new().await;
    let session = app.initialize().await;
    let unread = app.in_session(&session, &call(1, "slow")).await;
    app.slow_has_begun().await;
    let receipt = app.rotate().await;
    assert_nothing_runs_on(&app).await;
    assert_eq!(receipt.ended.left_behind, 1);
    // It reads at last: the rotation has returned, and nothing more of the old generation comes, no last word either.
    assert!(messages(unread).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_a_session_just_ends() {
    let app = App::new().await;
    let session = app.initialize().await;
    let response = app.get(&session).await;
    assert_eq!(response.status(), StatusCode::OK);
    let reader = tokio::spawn(messages(response));
    tokio::time::sleep(Duration::from_millis(30)).await;
    let receipt = app.rotate().await;
    assert_eq!(receipt.ended.streams, 1);
    assert!(reader.await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_ends_with_its_final_result() {
    let app = App::new().await;
    let listen = json!({
        "jsonrpc": "2.0", "id": "l", "method": "subscriptions/listen",
        "params": { "notifications": { "toolsListChanged": true } },
    });
    let response = app.modern(&listen).await;
    assert_eq!(response.status(), StatusCode::OK);
    let reader = tokio::spawn(messages(response));
    tokio::time::sleep(Duration::from_millis(30)).await;
    let receipt = app.rotate().await;
    assert_eq!(receipt.ended.streams, 1);
    let messages = reader.await.unwrap();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert_eq!(
        messages[0]["method"],
        "notifications/subscriptions/acknowledged"
    );
    assert_eq!(messages[1]["id"], "l");
    assert_eq!(messages[1]["result"]["resultType"], "complete");
    let meta = &messages[1]["result"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/subscriptionId"], "l");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_call_gets_no_second_answer() {
    let app = App::new().await;
    let session = app.initialize().await;
    let response = app.in_session(&session, &call(1, "whoami")).await;
    let answer = answer(response).await;
    app.rotate().await;
    assert_eq!(text_of(&answer), "acme");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_token_opens_a_new_session_and_not_the_old_one() {
    let mut app = App::new().await;
    let session = app.initialize().await;
    let receipt = app.rotate().await;
    app.token = receipt.token.expose_secret().to_owned();
    let response = app.in_session(&session, &call(1, "whoami")).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let session = app.initialize().await;
    let response = app.in_session(&session, &call(1, "whoami")).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_at_any_moment_leave_no_write_behind() {
    // A tool that writes all the time, and a rotation at a moment of chance: the last write is before its return.
    for round in 0..50_u64 {
        let app = Arc::new(App::new().await);
        let session = app.initialize().await;
        let callers: Vec<_> = (0..4_u32)
            .map(|id| {
                let (app, session) = (Arc::clone(&app), session.clone());
                tokio::spawn(async move {
                    if id % 2 == 0 {
                        messages(app.modern(&call(id, "busy")).await).await
                    } else {
                        messages(app.in_session(&session, &call(id, "busy")).await).await
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(200 * round)).await;
        app.rotate().await;
        let written = app.trace.notified.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(app.trace.notified.load(Ordering::SeqCst), written);
        for caller in callers {
            caller.await.unwrap();
        }
    }
}
