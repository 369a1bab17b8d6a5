//! The answers of the layer itself, and what an inner service can say at the end of a token.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use serde_json::json;

use crate::rejection::{Rejection, RejectionKind};

/// What an inner service wants to be said last when the token of a response ends.
///
/// Put into a response's extensions. If the response's body is still open when the token is rotated,
/// these bytes are its last frame. On a response that the inner service makes *because* the
/// token ended, it marks that response as the answer, which is then sent in place of the layer's own 401.
#[derive(Clone, Debug, Default)]
pub struct Farewell(pub Bytes);

/// Seconds after which a client that was put off tries again.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Makes the default answer: a JSON-RPC error with no id, which MCP clients show to people.
pub(crate) fn reject(rejection: &Rejection) -> Response<Bytes> {
    let error = json!({
        "jsonrpc": "2.0",
        "id": null,
        "error": { "code": json_rpc_code(rejection.kind()), "message": rejection.message() },
    });
    let mut response = Response::new(Bytes::from(error.to_string()));
    *response.status_mut() = rejection.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(
        rejection.status(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        headers.insert(RETRY_AFTER, RETRY_SECONDS);
    }
    response
}

/// The codes that MCP servers commonly use: -32001 for what ends a session, -32600 for what is no request.
fn json_rpc_code(kind: &RejectionKind) -> i32 {
    match kind {
        RejectionKind::Address(_)
        | RejectionKind::MalformedCredential(_)
        | RejectionKind::MissingSession
        | RejectionKind::RepeatedSession => -32600,
        RejectionKind::Misconfigured | RejectionKind::StoreUnavailable => -32603,
        _ => -32001,
    }
}
