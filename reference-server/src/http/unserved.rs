//! Short answers for what MCP clients try and this server does not have: OAuth discovery and registration.
//!
//! After a 401, clients look for an authorization server in several places, some with the query of the
//! first request attached. The answers are the same for everybody, come at once, and repeat nothing.

use axum::{
    Json,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use http::{
    StatusCode,
    header::{CACHE_CONTROL, REFERRER_POLICY},
};
use serde_json::{Value, json};
use tower_workspace_token::{id::WorkspaceId, layer::RequestAddress};

use crate::app::App;

/// Refuses to register a client (RFC 7591 §3.2.2).
pub(super) async fn register() -> Response {
    let error = json!({
        "error": "invalid_client_metadata",
        "error_description": "This server registers no clients. Send the workspace token as `Authorization: Bearer <token>`.",
    });
    answer(StatusCode::BAD_REQUEST, error)
}

/// Describes a workspace's endpoint as a protected resource (RFC 9728 §3.2); nothing else is known here.
pub(super) async fn well_known(State(app): State<App>, Path(path): Path<String>) -> Response {
    let workspace = path
        .strip_prefix("oauth-protected-resource/mcp/")
        .and_then(|id| id.parse::<WorkspaceId>().ok());
    match workspace {
        None => not_found().await,
        Some(workspace) => {
            let url = format!("{}/mcp/{workspace}", app.addresses().public_url());
            answer(StatusCode::OK, resource(&url))
        }
    }
}

/// The same on a workspace's own host, where the endpoint is at `/mcp` and at `/`.
pub(super) async fn well_known_of_host(
    State(app): State<App>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    let endpoint = match path.strip_prefix("oauth-protected-resource") {
        Some("") => "/",
        Some("/mcp") => "/mcp",
        _ => return not_found().await,
    };
    let (parts, _) = request.into_parts();
    let origin = RequestAddress::of(&parts)
        .ok()
        .and_then(|address| app.addresses().origin_of_workspace(&address));
    match origin {
        None => not_found().await,
        Some(origin) => answer(StatusCode::OK, resource(&format!("{origin}{endpoint}"))),
    }
}

fn resource(url: &str) -> Value {
    json!({
        "resource": url,
        "bearer_methods_supported": ["header", "query"],
    })
}

pub(super) async fn not_found() -> Response {
    let error = json!({
        "error": "not_found",
        "error_description": "There is nothing here. This server has no OAuth: send the workspace token as `Authorization: Bearer <token>`.",
    });
    answer(StatusCode::NOT_FOUND, error)
}

/// Refuses who comes in the clear where proxies that end TLS are the way.
pub(super) async fn bypass() -> Response {
    let error = json!({
        "error": "forbidden",
        "error_description": "This address is for the proxy in front of the server. Use the server's public https:// address.",
    });
    answer(StatusCode::FORBIDDEN, error)
}

/// Clients ask here with the query of a request that was refused: what comes back is neither kept nor referred to.
fn answer(status: StatusCode, body: Value) -> Response {
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (status, headers, Json(body)).into_response()
}
