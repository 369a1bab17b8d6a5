//! The requests: a small POST with eight headers, as an agent's client sends it.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{
        ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT,
    },
};
use http_body_util::Full;

/// The body of every request.
pub type Body = Full<Bytes>;

/// The domain whose first label names the workspace.
pub const DOMAIN: &str = "mcp.example.com";

/// The path of every request.
pub const PATH: &str = "/mcp";

/// The body of every request: hello, world.
pub const JSON: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// How the token stands in a query; it stands last.
pub const QUERY_TOKEN: &str = "token=";

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// Makes a request with `token` as its Bearer.
pub fn bearer(workspace: &str, token: &str) -> Request<Body> {
    // Copied for each request, as it is in a server, where it is a piece of the read buffer: a text that
    // all requests shared would make its reference count the bottleneck of two threads.
    let authorization = HeaderValue::try_from(format!("Bearer {token}")).expect("tokens are ASCII");
    let mut request = request(workspace, Uri::from_static(PATH));
    request.headers_mut().insert(AUTHORIZATION, authorization);
    request
}

/// Makes a request with `query` behind its path, and no other credential.
pub fn query(workspace: &str, query: &str) -> Request<Body> {
    let uri = format!("{PATH}?{query}").parse().expect("a query");
    let mut request = request(workspace, uri);
    let number = HeaderName::from_static("x-request-id");
    request
        .headers_mut()
        .insert(number, HeaderValue::from_static("17"));
    request
}

/// Makes a request with `token` as its Bearer in the session `session`.
pub fn in_session(workspace: &str, token: &str, session: &HeaderValue) -> Request<Body> {
    let mut request = bearer(workspace, token);
    let session = HeaderValue::from_bytes(session.as_bytes()).expect("it is one");
    request.headers_mut().insert(SESSION_ID, session);
    request
}

/// Returns the session that a response opened.
pub fn session_of<B>(response: &http::Response<B>) -> Option<HeaderValue> {
    response.headers().get(SESSION_ID).cloned()
}

/// Returns whether a request belongs to a session.
pub fn is_in_session<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(SESSION_ID)
}

/// Names a session in a response.
pub fn open_session<B>(response: &mut http::Response<B>) {
    response
        .headers_mut()
        .insert(SESSION_ID, HeaderValue::from_static("inner"));
}

/// Returns a copy of `request` in which the token, wherever it is, has become what `change` makes of it.
///
/// # Panics
/// There is no token in the request.
pub fn with_token(request: &Request<Body>, change: impl Fn(&str) -> String) -> Request<Body> {
    let mut changed = request.clone();
    if let Some(value) = changed.headers_mut().get_mut(AUTHORIZATION) {
        let text = value.to_str().expect("tokens are ASCII");
        let token = text.strip_prefix("Bearer ").expect("it is a Bearer");
        *value = HeaderValue::try_from(format!("Bearer {}", change(token))).expect("ASCII");
    } else {
        let query = request.uri().query().unwrap_or_default();
        let (before, token) = query.split_once(QUERY_TOKEN).expect("there is a token");
        let uri = format!("{PATH}?{before}{QUERY_TOKEN}{}", change(token));
        *changed.uri_mut() = uri.parse().expect("it was a URI before");
    }
    changed
}

/// Writes the request with `token` as HTTP/1.1, as the comparison over HTTP sends it.
pub fn wire(host: &str, token: &str) -> Vec<u8> {
    let mut text =
        format!("POST {PATH} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n");
    for (name, value) in &common_headers() {
        text += &format!("{name}: {}\r\n", value.to_str().expect("ASCII"));
    }
    text += "\r\n";
    text += JSON;
    text.into_bytes()
}

/// The six headers beside `Host` and `Authorization`.
pub fn common_headers() -> HeaderMap {
    let length = HeaderValue::from(JSON.len());
    HeaderMap::from_iter([
        (USER_AGENT, HeaderValue::from_static("agent/2.1 (linux)")),
        (
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        ),
        (ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate")),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CONTENT_LENGTH, length),
        // Of the era with sessions, which the session lanes need.
        (PROTOCOL_VERSION, HeaderValue::from_static("2025-11-25")),
    ])
}

fn request(workspace: &str, uri: Uri) -> Request<Body> {
    let mut request = Request::new(Body::new(Bytes::from_static(JSON.as_bytes())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = common_headers();
    let host = HeaderValue::try_from(format!("{workspace}.{DOMAIN}")).expect("a host");
    request.headers_mut().insert(HOST, host);
    request
}
