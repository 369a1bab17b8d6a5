//! What clients of gRPC get to read: a status in the headers, or in the trailers of a stream.
//!
//! Give [`rejection`] to the layer around a gRPC service, as [tonic](https://docs.rs/tonic) makes them:
//! ```
//! use tower_workspace_token::{HostLabel, TokenAuthority, WorkspaceTokenLayer, layer::grpc};
//!
//! fn layer(authority: TokenAuthority) -> WorkspaceTokenLayer {
//!     WorkspaceTokenLayer::new(authority, HostLabel::under("rpc.example.com"))
//!         .with_rejection_response(grpc::rejection)
//! }
//! ```
//! The paths of gRPC are those of its methods, so the workspace is best a label of the host. The handler finds the
//! [`VerifiedToken`](crate::VerifiedToken) in the extensions of its request.
//!
//! # Streams
//! A rotation ends each open response whose content type is `application/grpc` with trailers that say
//! `UNAUTHENTICATED`, whatever the layer answers rejected calls with: clients take a stream without
//! trailers for one that is complete.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

use crate::rejection::{Rejection, RejectionKind};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Makes the answer to a rejected call, for
/// [`with_rejection_response`](super::WorkspaceTokenLayer::with_rejection_response): 200 and no body, with
/// the status of gRPC and the sentence of [`Rejection::message`] in the headers.
///
/// The status of a bad credential, and of a call whose token ended, is `UNAUTHENTICATED` (16).
pub fn rejection(rejection: &Rejection) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.headers_mut() = status(rejection);
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Makes the trailers of a stream whose token ended as `kind` says.
pub(super) fn last_trailers(kind: RejectionKind) -> HeaderMap {
    status(&Rejection::new(kind))
}

/// Makes the trailers of a stream that a server ends because it stops: `UNAVAILABLE`, upon which clients try again.
#[cfg(feature = "serve")]
pub(crate) fn stop_trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    let sentence = HeaderValue::from_static("The server stops. Try again in a moment.");
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("14"));
    trailers.insert(GRPC_MESSAGE, sentence);
    trailers
}

/// Returns whether the end of a response is read from its trailers. Not so those of gRPC-Web, which has them in its body.
pub(crate) fn ends_in_trailers(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|content_type| content_type.as_bytes().strip_prefix(b"application/grpc"));
    essence.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Writes the status and the sentence, as they stand in headers and in trailers.
fn status(rejection: &Rejection) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(GRPC_STATUS, code(rejection.status()));
    // Nothing in it would have to be percent-encoded; a test looks at each sentence.
    if let Ok(sentence) = HeaderValue::try_from(&*rejection.sentence()) {
        headers.insert(GRPC_MESSAGE, sentence);
    }
    headers
}

/// Returns the status of gRPC that says what the status of HTTP does (gRPC, Status codes and their use).
fn code(status: StatusCode) -> HeaderValue {
    HeaderValue::from_static(match status {
        StatusCode::BAD_REQUEST => "3",
        StatusCode::NOT_FOUND => "5",
        StatusCode::FORBIDDEN => "7",
        StatusCode::TOO_MANY_REQUESTS => "8",
        StatusCode::SERVICE_UNAVAILABLE => "14",
        StatusCode::UNAUTHORIZED => "16",
        _ => "13",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejection::{AddressProblem, TokenProblem};

    #[test]
    fn each_status_has_its_counterpart() {
        use RejectionKind::*;
        for (kind, code) in [
            (Address(AddressProblem::MissingHost), "3"),
            (ForeignOrigin, "7"),
            (InvalidToken(TokenProblem::Superseded), "16"),
            (Misconfigured, "13"),
            (MissingCredential, "16"),
            (SessionLimit, "8"),
            (StoreUnavailable, "14"),
            (TokenEnded, "16"),
            (UnknownSession, "5"),
        ] {
            let response = rejection(&Rejection::new(kind.clone()));
            assert_eq!(response.status(), StatusCode::OK, "{kind:?}");
            assert_eq!(response.headers()[GRPC_STATUS], code, "{kind:?}");
            assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
            assert!(response.body().is_empty(), "{kind:?}");
        }
    }

    #[test]
    fn only_what_ends_in_trailers_gets_them() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
            ("text/event-stream", false),
        ] {
            let mut headers = HeaderMap::new();
            assert!(!ends_in_trailers(&headers));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert_eq!(ends_in_trailers(&headers), expected, "{content_type}");
        }
    }
}
