//! The answers of this crate itself: JSON-RPC errors with a sentence that says what to do.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use rmcp::{
    ErrorData,
    model::{ErrorCode, JsonRpcError, ProtocolVersion, RequestId},
};
use serde_json::json;
use tower_workspace_token::{authority::Lease, layer::Farewell};

use crate::McpBody;

/// The code of the error that ends a call whose token was rotated; the same as in the layer's own answers.
pub const TOKEN_ENDED: ErrorCode = ErrorCode(-32001);

const TOKEN_ENDED_MESSAGE: &str = "The workspace token was regenerated. Ask whoever regenerated it for the new one, then connect again.";

const ACCESS_TOKEN_ENDED_MESSAGE: &str = "The access token has expired, or the workspace token was regenerated. Exchange the workspace token for another one, then connect again.";

/// The error that ends a call whose token was rotated, or whose access token has expired.
pub(crate) fn token_ended(lease: &Lease) -> ErrorData {
    let message = match lease.expires_at() {
        None => TOKEN_ENDED_MESSAGE,
        Some(_) => ACCESS_TOKEN_ENDED_MESSAGE,
    };
    ErrorData::new(TOKEN_ENDED, message, None)
}

/// The error of a request that came past the token layer.
pub(crate) fn misconfigured() -> ErrorData {
    ErrorData::internal_error(
        "The server is put together wrongly: McpService needs WorkspaceTokenLayer around it.",
        None,
    )
}

pub(crate) fn too_large(limit: usize) -> ErrorData {
    let message = format!("The message is larger than {limit} bytes. Send it in smaller parts.");
    ErrorData::invalid_request(message, None)
}

pub(crate) fn unreadable() -> ErrorData {
    ErrorData::invalid_request(
        "The body of the request broke off. Send the request again.",
        None,
    )
}

pub(crate) fn not_json() -> ErrorData {
    ErrorData::parse_error(
        "The body is not valid JSON. Send one JSON-RPC message.",
        None,
    )
}

pub(crate) fn not_a_message() -> ErrorData {
    ErrorData::invalid_request(
        "The body is JSON, but not one JSON-RPC message of MCP. Send one request, notification or response, not a batch, with each member once.",
        None,
    )
}

pub(crate) fn session_missing() -> ErrorData {
    ErrorData::invalid_request(
        "The Mcp-Session-Id header is missing. Send the one that the response to initialize carried, or initialize first.",
        None,
    )
}

pub(crate) fn unknown_version() -> ErrorData {
    ErrorData::invalid_request(
        "The MCP-Protocol-Version header names a version that this server does not know. Send one that it offers in its answer to initialize or server/discover.",
        None,
    )
}

pub(crate) fn wrong_method() -> ErrorData {
    ErrorData::invalid_request(
        "This method has no meaning here. Send messages by POST; GET and DELETE belong to sessions.",
        None,
    )
}

pub(crate) fn not_acceptable() -> ErrorData {
    ErrorData::invalid_request(
        "The Accept header must list application/json and text/event-stream for a POST, text/event-stream for a GET.",
        None,
    )
}

pub(crate) fn not_declared_as_json() -> ErrorData {
    ErrorData::invalid_request("The Content-Type header must be application/json.", None)
}

pub(crate) fn not_understood() -> ErrorData {
    ErrorData::invalid_request(
        "The request is not one that MCP knows. Check its headers.",
        None,
    )
}

pub(crate) fn failed() -> ErrorData {
    ErrorData::internal_error("The server failed to answer. Send the request again.", None)
}

/// The session is gone in rmcp, though we still count it: the same answer as the session layer's own.
pub(crate) fn unknown_session() -> Response<McpBody> {
    let gone = ErrorData::new(
        ErrorCode(-32001),
        "The session is not known. Send initialize again to open a new one.",
        None,
    );
    let mut response = error(StatusCode::NOT_FOUND, None, &gone);
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

/// The error that sends a client of the era without sessions back to `initialize`.
pub(crate) fn modern_is_off(requested: ProtocolVersion) -> ErrorData {
    ErrorData::unsupported_protocol_version(requested, legacy_versions())
}

/// The versions that have an `initialize`.
pub(crate) fn legacy_versions() -> &'static [ProtocolVersion] {
    ProtocolVersion::known_up_to(&ProtocolVersion::LATEST_WITH_INITIALIZE)
}

/// Makes a response of an error.
pub(crate) fn error(
    status: StatusCode,
    id: Option<&RequestId>,
    error: &ErrorData,
) -> Response<McpBody> {
    let mut response = Response::new(McpBody::text(json_rpc(id, error)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Answers the call `id`, whose token has ended, in place of the layer's own 401.
///
/// The status is 200: it was a good request, and what it was answered is an error of JSON-RPC.
pub(crate) fn farewell(id: &RequestId, is_listen: bool, lease: &Lease) -> Response<McpBody> {
    let mut response = error(StatusCode::OK, Some(id), &token_ended(lease));
    if is_listen {
        *response.body_mut() = McpBody::text(listen_ended(id));
    }
    response.extensions_mut().insert(Farewell::default());
    response
}

/// Returns the last event of the stream that answers `id`.
pub(crate) fn farewell_event(id: &RequestId, is_listen: bool, lease: &Lease) -> Farewell {
    let message = if is_listen {
        listen_ended(id)
    } else {
        json_rpc(Some(id), &token_ended(lease))
    };
    let mut event = b"data: ".to_vec();
    event.extend_from_slice(&message);
    event.extend_from_slice(b"\n\n");
    Farewell(event.into())
}

/// The final result of `subscriptions/listen` (MCP 2026-07-28): the server has ended it.
fn listen_ended(id: &RequestId) -> Bytes {
    let result = rmcp::model::SubscriptionsListenResult::complete(id.clone());
    Bytes::from(json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string())
}

/// rmcp leaves an absent id out, as the newest revision allows; the older ones say `null`, which that one accepts too.
fn json_rpc(id: Option<&RequestId>, error: &ErrorData) -> Bytes {
    let message = match id {
        Some(id) => serde_json::to_value(JsonRpcError::new(Some(id.clone()), error.clone())),
        None => Ok(json!({ "jsonrpc": "2.0", "id": null, "error": error })),
    };
    // Strings and numbers only: there is nothing in it that JSON cannot say.
    Bytes::from(message.unwrap_or_default().to_string())
}
