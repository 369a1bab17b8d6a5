//! Session tokens around an MCP service of any make: here one of few lines, made by hand.
//!
//! Run with
//! ```text
//! cargo run --example mcp_session --features axum,session
//! ```
//! It prints a token; then, in another terminal:
//! ```text
//! TOKEN=…
//! URL=http://127.0.0.1:3002/mcp/acme
//! curl -i $URL --oauth2-bearer $TOKEN -d '{"jsonrpc":"2.0","id":1,"method":"initialize"}'    # mcp-session-id: ey
//! SESSION=$(curl -si $URL --oauth2-bearer $TOKEN -d '{"jsonrpc":"2.0","id":1,"method":"initialize"}' | sed -n 's/^mcp-session-id: \(.*\)\r/\1/p')
//! curl -i $URL --oauth2-bearer $TOKEN -H "mcp-session-id: $SESSION" -d '{"jsonrpc":"2.0","id":2,"method":"ping"}'  # session 2 of acme
//! curl -i $URL -H "mcp-session-id: $SESSION" -d '{"jsonrpc":"2.0","id":2,"method":"ping"}'   # 401, a session is no credential
//! curl -i $URL --oauth2-bearer $TOKEN -H "mcp-session-id: 2" -d '{"jsonrpc":"2.0","id":2,"method":"ping"}'         # 404, the service's own id opens nothing
//! curl -i $URL --oauth2-bearer $TOKEN -H "mcp-session-id: $SESSION" -X DELETE                # 200
//! curl -i $URL --oauth2-bearer $TOKEN -H "mcp-session-id: $SESSION" -d '{"jsonrpc":"2.0","id":2,"method":"ping"}'  # 404, initialize again
//! ```
//! The server says when the service hears that a session of its own has ended. With rmcp, take `McpService` of
//! `tower-workspace-token-mcp`: its example `mcp_service` is that.

use std::{
    error::Error,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use tower_workspace_token::{
    Keys, MemoryStore, PathTemplate, SessionLayer, TokenAuthority, TokenName, VerifiedToken,
    WorkspaceTokenLayer,
};

/// The sessions that the service has opened, by ids that anybody can guess: no client gets to see them.
static SESSIONS: AtomicU64 = AtomicU64::new(0);

/// Answers a message; the session in its headers is the service's own.
async fn answer(token: VerifiedToken, headers: HeaderMap, message: String) -> Response {
    let Ok(message) = serde_json::from_str::<Value>(&message) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let answer = |result: Value| {
        let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
        format!("{answer}\n")
    };
    let session = headers.get("mcp-session-id");
    match (message["method"].as_str(), session) {
        (Some("initialize"), None) => {
            let id = SESSIONS.fetch_add(1, Ordering::Relaxed) + 1;
            let result = json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "serverInfo": { "name": "by hand", "version": "1" },
            });
            ([("mcp-session-id", id.to_string())], answer(result)).into_response()
        }
        (Some("ping"), Some(session)) => {
            let session = session.to_str().unwrap_or_default();
            let text = format!("session {session} of {}", token.workspace());
            answer(json!({ "_meta": { "whoami": text } })).into_response()
        }
        _ => StatusCode::BAD_REQUEST.into_response(),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = "/mcp/{workspace}";
    // The session layer ends the session itself, and passes the DELETE on for the service to know.
    let mcp = post(answer).delete(async || StatusCode::OK);

    let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
    let sessions = SessionLayer::new(authority.clone())
        .on_session_end(|id| eprintln!("session {id} has ended"));
    let tokens = WorkspaceTokenLayer::new(authority.clone(), PathTemplate::new(path));
    // The token layer is the outer one: the session layer asks whose a session is.
    let app = Router::new().route(path, mcp).layer(sessions).layer(tokens);

    let issued = authority
        .issue(&"acme".parse()?, &TokenName::primary())
        .await?;
    eprintln!("TOKEN={}", issued.expose_secret());
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3002");
    let listener = tokio::net::TcpListener::bind(address).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
