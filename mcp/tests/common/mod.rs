//! An MCP service under the token layer, and a client that speaks JSON-RPC to it without a socket.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses a part of it"
)]
#![allow(
    clippy::allow_attributes,
    reason = "`expect` fails where a test file uses all of it"
)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt as _, Full};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomNotification,
        ServerCapabilities, ServerConfig, SubscriptionFilter,
    },
    service::{NotificationContext, RequestContext},
};
use serde_json::{Value, json};
use tower::{Service, ServiceExt as _, util::BoxCloneSyncService};
use tower_layer::Layer as _;
use tower_workspace_token::{
    Keys, MemoryStore, TokenAuthority, TokenName, WorkspaceId, WorkspaceTokenLayer,
    layer::{GuardedBody, PathTemplate},
};
use tower_workspace_token_mcp::{McpResponseBody, McpService, verified_token};

pub type Body = GuardedBody<McpResponseBody>;

/// What the tools of all tests saw and did.
#[derive(Debug, Default)]
pub struct Trace {
    /// `slow` has begun.
    pub begun: AtomicBool,
    /// `slow` has done what it does after its sleep.
    pub written: AtomicBool,
    /// How many futures of `slow` were dropped or ended.
    pub gone: AtomicUsize,
    pub notified: AtomicUsize,
    pub parts: Mutex<String>,
}

#[derive(Clone, Debug)]
pub struct Tools(pub Arc<Trace>);

struct Gone(Arc<Trace>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.gone.fetch_add(1, Ordering::SeqCst);
    }
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed();
        ServerConfig::new(capabilities.build())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn on_custom_notification(
        &self,
        _notification: CustomNotification,
        _context: NotificationContext<RoleServer>,
    ) {
        self.0.notified.fetch_add(1, Ordering::SeqCst);
    }

    async fn call_tool(
        &self,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let text = match &*params.name {
            "whoami" => verified_token(&context)
                .map(|token| token.workspace().to_string())
                .unwrap_or_default(),
            "parts" => {
                let parts = context.extensions.get::<Parts>().unwrap();
                let seen = format!("{} {:?} {:?}", parts.uri, parts.headers, parts.extensions);
                *self.0.parts.lock().unwrap() = seen;
                String::new()
            }
            // Heeds no cancellation token, on purpose.
            "slow" => {
                let _gone = Gone(Arc::clone(&self.0));
                self.0.begun.store(true, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(400)).await;
                self.0.written.store(true, Ordering::SeqCst);
                String::from("written")
            }
            "busy" => loop {
                self.0.notified.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            },
            other => return Err(ErrorData::invalid_params(other.to_owned(), None)),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

pub struct App {
    pub authority: TokenAuthority,
    pub trace: Arc<Trace>,
    pub token: String,
    service: BoxCloneSyncService<Request<Full<Bytes>>, Response<Body>, std::convert::Infallible>,
}

pub fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

impl App {
    pub async fn new() -> Self {
        Self::with(|mcp| mcp).await
    }

    /// Makes an app whose MCP service is set up by `set_up`.
    pub async fn with(set_up: impl FnOnce(McpService<Tools>) -> McpService<Tools>) -> Self {
        let keys = Keys::generate().unwrap();
        let authority = TokenAuthority::builder(MemoryStore::new(), keys)
            .build()
            .unwrap();
        let issued = authority.issue(&acme(), &TokenName::primary()).await;
        let trace = Arc::new(Trace::default());
        let tools = Tools(Arc::clone(&trace));
        let mcp = set_up(McpService::new(
            authority.clone(),
            move || Ok(tools.clone()),
        ));
        let paths = PathTemplate::new("/mcp/{workspace}");
        let layer = WorkspaceTokenLayer::new(authority.clone(), paths).with_query_token("token");
        Self {
            authority,
            trace,
            token: issued.unwrap().expose_secret().to_owned(),
            service: BoxCloneSyncService::new(layer.layer(mcp)),
        }
    }

    pub async fn rotate(&self) -> tower_workspace_token::authority::RotationReceipt {
        self.authority
            .rotate(&acme(), &TokenName::primary())
            .await
            .unwrap()
    }

    /// Sends a request with the headers of every client and those in `headers`.
    pub async fn send(
        &self,
        method: Method,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Body> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = "/mcp/acme".parse().unwrap();
        let bearer = format!("Bearer {}", self.token);
        let common = [
            ("host", "localhost"),
            ("authorization", &*bearer),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ];
        for (name, value) in common.iter().chain(headers) {
            let name: http::HeaderName = name.parse().unwrap();
            if common.iter().any(|(common, _)| *common == name) {
                request.headers_mut().insert(name, value.parse().unwrap());
            } else {
                request.headers_mut().append(name, value.parse().unwrap());
            }
        }
        self.raw(request).await
    }

    pub async fn raw(&self, request: Request<Full<Bytes>>) -> Response<Body> {
        let mut service = self.service.clone();
        let Ok(service) = service.ready().await;
        let Ok(response) = service.call(request).await;
        response
    }

    pub async fn post(&self, headers: &[(&str, &str)], message: &Value) -> Response<Body> {
        self.send(Method::POST, headers, message.to_string()).await
    }

    /// Opens a session and returns its token.
    pub async fn initialize(&self) -> String {
        let response = self.post(&[], &initialize_message("test")).await;
        assert_eq!(response.status(), StatusCode::OK);
        let session = session_of(&response);
        answer(response).await;
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let response = self.in_session(&session, &initialized).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        session
    }

    pub async fn in_session(&self, session: &str, message: &Value) -> Response<Body> {
        let headers = [
            ("mcp-session-id", session),
            ("mcp-protocol-version", "2025-11-25"),
        ];
        self.post(&headers, message).await
    }

    pub async fn get(&self, session: &str) -> Response<Body> {
        let headers = [
            ("mcp-session-id", session),
            ("mcp-protocol-version", "2025-11-25"),
            ("accept", "text/event-stream"),
        ];
        self.send(Method::GET, &headers, "").await
    }

    /// Sends a message as the clients of 2026-07-28 do.
    pub async fn modern(&self, message: &Value) -> Response<Body> {
        let method = message["method"].as_str().unwrap().to_owned();
        let mut message = message.clone();
        message["params"]["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let name = message["params"]["name"].as_str().map(str::to_owned);
        let mut headers = vec![
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", &*method),
        ];
        if let Some(name) = &name {
            headers.push(("mcp-name", name));
        }
        self.post(&headers, &message).await
    }

    /// Waits until the tool `slow` runs.
    pub async fn slow_has_begun(&self) {
        for _ in 0..500 {
            if self.trace.begun.load(Ordering::SeqCst) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("the tool was not called");
    }
}

pub fn initialize_message(client: &str) -> Value {
    json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": client, "version": "1" },
        },
    })
}

pub fn call(id: u32, tool: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": tool, "arguments": {} } })
}

pub fn session_of<B>(response: &Response<B>) -> String {
    let session = header(response.headers(), "mcp-session-id");
    session.expect("a session").to_owned()
}

pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

/// Reads a body to its end, or fails after two seconds.
pub async fn text(response: Response<Body>) -> String {
    let body = tokio::time::timeout(Duration::from_secs(2), response.into_body().collect());
    let bytes = body.await.expect("the body ends").unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Returns the JSON-RPC messages of a response, be it JSON or a stream of events.
pub async fn messages(response: Response<Body>) -> Vec<Value> {
    let is_stream = header(response.headers(), "content-type") == Some("text/event-stream");
    let text = text(response).await;
    if !is_stream {
        return vec![serde_json::from_str(&text).unwrap()];
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let data = data.map(str::trim).filter(|data| !data.is_empty());
    data.map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// Returns the one message that answers a request.
pub async fn answer(response: Response<Body>) -> Value {
    let mut messages = messages(response).await;
    assert_eq!(messages.len(), 1, "{messages:?}");
    messages.remove(0)
}

pub fn text_of(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap()
}
