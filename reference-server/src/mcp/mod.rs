//! The MCP endpoint of a workspace.
//!
//! Requests get here behind the token layer: their extensions hold a
//! [`VerifiedToken`](tower_workspace_token::VerifiedToken), and the credential is gone.

use axum::{
    Json,
    response::{IntoResponse, Response},
    routing::{MethodRouter, any},
};
use http::StatusCode;
use serde_json::json;

use crate::app::App;

/// Returns what is served at each of the three URLs of a workspace.
pub(crate) fn endpoint(_app: &App) -> MethodRouter {
    any(not_yet)
}

async fn not_yet() -> Response {
    let error = json!({
        "jsonrpc": "2.0",
        "id": null,
        "error": { "code": -32601, "message": "This server has no MCP tools yet." },
    });
    (StatusCode::NOT_IMPLEMENTED, Json(error)).into_response()
}
