//! Short answers for what MCP clients try and this server does not have: OAuth discovery and registration.
//!
//! After a 401, clients look for an authorization server in several places, some with the query of the
//! first request attached. The answers are the same for everybody, come at once, and repeat nothing.

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde_json::{Value, json};
use tower_workspace_token::id::WorkspaceId;

use crate::app::App;

/// Refuses to register a client (RFC 7591 §3.2.2).
pub(super) async fn register() -> Response {
    let error = json!({
        "error": "invalid_client_metadata",
        "error_description": "This server registers no clients. Send the workspace token as `Authorization: Bearer <token>`.",
    });
    (StatusCode::BAD_REQUEST, Json(error)).into_response()
}

/// Describes a workspace's endpoint as a protected resource (RFC 9728 §3.2); nothing else is known here.
pub(super) async fn well_known(State(app): State<App>, Path(path): Path<String>) -> Response {
    let workspace = path
        .strip_prefix("oauth-protected-resource/mcp/")
        .and_then(|id| id.parse::<WorkspaceId>().ok());
    match workspace {
        None => not_found().await,
        Some(workspace) => Json(resource(&app, &workspace)).into_response(),
    }
}

fn resource(app: &App, workspace: &WorkspaceId) -> Value {
    json!({
        "resource": format!("{}/mcp/{workspace}", app.addresses().public_url()),
        "bearer_methods_supported": ["header", "query"],
    })
}

pub(super) async fn not_found() -> Response {
    let error = json!({
        "error": "not_found",
        "error_description": "There is nothing here. This server has no OAuth: send the workspace token as `Authorization: Bearer <token>`.",
    });
    (StatusCode::NOT_FOUND, Json(error)).into_response()
}
