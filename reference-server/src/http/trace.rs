//! A span for each request, of words that we know: never the query, never a header, and of the path only
//! what looks like ours, since a client may put its token anywhere. Those of agents are there at DEBUG.

use std::time::Duration;

use http::{Method, Request, Response};
use tower_http::{
    classify::{ServerErrorsAsFailures, SharedClassifier},
    trace::{DefaultOnFailure, OnResponse, TraceLayer},
};
use tracing::Span;

/// See [`layer`].
pub(crate) type Layer = TraceLayer<
    SharedClassifier<ServerErrorsAsFailures>,
    fn(&Request<hyper::body::Incoming>) -> Span,
    (),
    LogStatus,
    (),
    (),
    DefaultOnFailure,
>;

/// Logs how a request was answered, under our own name: see `logging`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogStatus;

impl<B> OnResponse<B> for LogStatus {
    fn on_response(self, response: &Response<B>, latency: Duration, _span: &Span) {
        tracing::debug!(status = response.status().as_u16(), ?latency, "answered");
    }
}

/// Returns the layer that logs requests. It stands behind the one that takes the credential out.
pub(super) fn layer() -> Layer {
    TraceLayer::new_for_http()
        .make_span_with(span as fn(&_) -> _)
        .on_request(())
        .on_response(LogStatus)
        .on_body_chunk(())
        .on_eos(())
}

fn span(request: &Request<hyper::body::Incoming>) -> Span {
    let (method, path) = (method(request.method()), path(request.uri().path()));
    match is_of_agents(path) {
        // Entered and left many times in each of their many calls, and of little use there: what is
        // logged of one from INFO up is about the database, whoever asked.
        true => tracing::debug_span!("request", method, path),
        false => tracing::info_span!("request", method, path),
    }
}

/// Returns whether a path is that of the MCP endpoint.
fn is_of_agents(path: &str) -> bool {
    path == "/mcp" || path.starts_with("/mcp/")
}

/// Returns the method by its name, if it is one that has a name.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "(other)",
    }
}

/// Returns the path, if it is one of the server's own.
fn path(path: &str) -> &str {
    match path {
        "/" | "/livez" | "/mcp" | "/readyz" | "/register" => path,
        _ if is_workspace_path(path) => path,
        _ if path.starts_with("/.well-known/") => "/.well-known/...",
        _ => "(other)",
    }
}

/// Ids are short and in lower case, so that no piece of a token passes for one.
fn is_workspace_path(path: &str) -> bool {
    path.strip_prefix("/mcp/").is_some_and(|id| {
        id.len() <= crate::db::ids::ID_LENGTH
            && id
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_have_paths_of_their_own() {
        for (path, expected) in [
            ("/mcp", true),
            ("/mcp/abcdefghijk", true),
            ("/", false),
            ("(other)", false),
        ] {
            assert_eq!(is_of_agents(path), expected, "{path}");
        }
    }

    #[test]
    fn logs_only_paths_of_our_own() {
        for own in ["/", "/mcp", "/mcp/abcdefghijk", "/livez"] {
            assert_eq!(path(own), own);
        }
        for foreign in [
            "/mcp/eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl",
            "/mcp/abcdefghijkl",
            "/eyJhbGciOiJIUzI1NiJ9",
            "/mcp/abc/token",
            "",
        ] {
            assert_eq!(path(foreign), "(other)", "{foreign}");
        }
        assert_eq!(path("/.well-known/x/eyJhbGciOi"), "/.well-known/...");
    }
}
