//! How large a request's head may be in each of its parts; what is beyond is refused before anybody looks at it.
//!
//! hyper bounds the whole head (`serve` says how), and services bound the bodies that they read.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderValue, Method, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY},
    request::Parts,
};

/// Returns the refusal of a head with too much of something.
pub(super) fn refuse(parts: &Parts) -> Option<Response> {
    let mut refusal = check(parts)?;
    if parts.method == Method::HEAD {
        *refusal.body_mut() = Body::empty();
    }
    Some(refusal)
}

fn check(parts: &Parts) -> Option<Response> {
    let uri = &parts.uri;
    let target = uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target > LONGEST_TARGET {
        let sentence =
            "The address of the request is longer than 12 KiB. Send what is long in the body.";
        return Some(answer(StatusCode::URI_TOO_LONG, sentence));
    }
    let query = uri.query().unwrap_or_default();
    if query.bytes().filter(|byte| *byte == b'&').count() >= MOST_PARAMETERS {
        let sentence = "The request's query has more than 100 parameters. Send fewer.";
        return Some(answer(StatusCode::BAD_REQUEST, sentence));
    }
    if parts.headers.len() > MOST_HEADERS {
        let sentence = "The request has more than 100 header fields. Send fewer.";
        return Some(answer(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            sentence,
        ));
    }
    None
}

/// Whoever sent it may be a client of MCP or not: those show people what a JSON-RPC error says.
fn answer(status: StatusCode, sentence: &str) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)));
    let error = format!(
        r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":-32600,"message":"{sentence}"}}}}"#
    );
    (status, headers, error).into_response()
}

/// Above the 8 KiB within which the token layer looks for a credential, so that it is the one to answer for
/// those, and below the 16 KiB of a whole head of HTTP/2.
const LONGEST_TARGET: usize = 12 * 1024;

const MOST_PARAMETERS: usize = 100;

/// hyper's own bound for HTTP/1.1, which counts none in HTTP/2.
const MOST_HEADERS: usize = 100;
