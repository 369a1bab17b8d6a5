//! The answers of the layer itself, and what an inner service can say at the end of a token.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};

use crate::rejection::{Rejection, RejectionKind};

/// What an inner service wants to be said last when the token of a response ends.
///
/// Put into a response's extensions. If the response's body is still open when the token is rotated,
/// these bytes are its last frame; a response of gRPC ends in trailers instead (see [`grpc`](super::grpc)). On a response that the inner service makes *because* the
/// token ended, it marks that response as the answer, which is then sent in place of the layer's own 401.
#[derive(Clone, Debug, Default)]
pub struct Farewell(pub Bytes);

/// As many headers as an answer gets: content type, caching, challenge, and retry or referrer.
const HEADERS: usize = 4;

/// Seconds after which a client that was put off tries again.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// Makes the default answer: a JSON-RPC error with no id, which MCP clients show to people.
pub(crate) fn reject(rejection: &Rejection) -> Response<Bytes> {
    reject_with_help(rejection, None)
}

/// As [`reject`]; a 401 names the page `help` too.
pub(super) fn reject_with_help(rejection: &Rejection, help: Option<&str>) -> Response<Bytes> {
    let help = help.filter(|_| rejection.status() == StatusCode::UNAUTHORIZED);
    let mut response = Response::new(Bytes::from(json_rpc_error(rejection, help)));
    *response.status_mut() = rejection.status();
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(
        rejection.status(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        headers.insert(RETRY_AFTER, RETRY_SECONDS);
    }
    *response.headers_mut() = headers;
    response
}

/// Writes the error as it is: whoever sends garbage is not to cost more than the check did.
fn json_rpc_error(rejection: &Rejection, help: Option<&str>) -> String {
    let (code, sentence) = (json_rpc_code(rejection.kind()), rejection.sentence());
    // No sentence holds what JSON would have to escape, as a test finds, and no address of help either.
    let parts = [
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":"#,
        code,
        r#","message":""#,
        &sentence,
        help.map_or("", |_| " Help: "),
        help.unwrap_or_default(),
        r#""}}"#,
    ];
    parts.concat()
}

/// The codes that MCP servers commonly use: -32001 for what ends a session, -32600 for what is no request.
fn json_rpc_code(kind: &RejectionKind) -> &'static str {
    match kind {
        RejectionKind::Address(_)
        | RejectionKind::MalformedCredential(_)
        | RejectionKind::MissingSession
        | RejectionKind::RepeatedSession => "-32600",
        RejectionKind::Misconfigured | RejectionKind::StoreUnavailable => "-32603",
        _ => "-32001",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejection::{AddressProblem, CredentialProblem, TokenProblem};

    #[test]
    fn every_answer_is_the_json_of_its_sentence() {
        use RejectionKind::*;
        let kinds = [
            AccessTokenEnded,
            Address(AddressProblem::ContradictoryHost),
            Address(AddressProblem::ForeignHost),
            Address(AddressProblem::LabelIsNotPath),
            Address(AddressProblem::MalformedHost),
            Address(AddressProblem::MissingHost),
            Address(AddressProblem::NoWorkspace),
            Address(AddressProblem::RepeatedHost),
            EmptyCredential,
            ForeignOrigin,
            InvalidToken(TokenProblem::NotOurs),
            MalformedCredential(CredentialProblem::BadEscape),
            MalformedCredential(CredentialProblem::LongQuery),
            MalformedCredential(CredentialProblem::Repeated),
            Misconfigured,
            MissingCredential,
            MissingSession,
            RepeatedSession,
            SessionLimit,
            StoreUnavailable,
            TokenEnded,
            UnknownSession,
            UnsetVariable(String::from("WORKSPACE_TOKEN_1")),
        ];
        for kind in kinds {
            let rejection = Rejection::new(kind);
            let json: serde_json::Value =
                serde_json::from_slice(reject(&rejection).body()).expect("JSON");
            assert_eq!(json["error"]["message"], rejection.message());
            assert_eq!(json["jsonrpc"], "2.0");
            assert!(json["id"].is_null() && json["error"]["code"].is_i64());
            let grpc = super::super::grpc::rejection(&rejection);
            assert_eq!(grpc.headers()["grpc-message"], rejection.message());
            assert!(!rejection.message().contains('%'), "gRPC would decode it");
        }
    }
}
