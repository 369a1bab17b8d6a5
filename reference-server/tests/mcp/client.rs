//! [`Agent`]: a small MCP client that shows what comes over the wire.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpStream, UnixStream};

use crate::common::{Home, Server, Workspace};

/// A server, and a workspace to begin with.
pub(crate) struct World {
    pub(crate) home: Home,
    pub(crate) server: Server,
    pub(crate) acme: Workspace,
}

/// The era of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

static NEXT_ID: AtomicU32 = AtomicU32::new(100);

pub(crate) const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];

/// A client of one workspace.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    address: String,
    url: Uri,
    token: String,
    era: Era,
    session: Option<String>,
    /// What it calls itself, in MCP and in HTTP.
    name: (String, String),
}

/// The result of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolResult {
    pub(crate) text: String,
    pub(crate) is_error: bool,
}

impl World {
    pub(crate) fn new() -> Self {
        let home = Home::new();
        let server = home.serve();
        let acme = home.create_workspace("acme");
        Self { home, server, acme }
    }

    pub(crate) async fn agent(&self, era: Era) -> Agent {
        self.agent_of(&self.acme, era).await
    }

    pub(crate) async fn agent_of(&self, workspace: &Workspace, era: Era) -> Agent {
        let mut agent = Agent {
            address: self.server.address().to_owned(),
            url: workspace.mcp_url.parse().unwrap(),
            token: workspace.secret.clone(),
            era,
            session: None,
            name: ("test".to_owned(), "1".to_owned()),
        };
        if era == Era::Legacy {
            agent.initialize().await;
        }
        agent
    }

    /// The same after the server was killed and started again.
    pub(crate) fn restarted(self) -> Self {
        let Self {
            home,
            server,
            mut acme,
        } = self;
        drop(server);
        let server = home.serve();
        acme.mcp_url = format!("http://{}/mcp/{}", server.address(), acme.id);
        Self { home, server, acme }
    }

    /// Adds a task as a person does, and returns its id.
    pub(crate) fn add_task(&self, workspace: &Workspace, title: &str) -> String {
        let task = ["task", "add", "--title", title, "--body", "all of it"];
        let added = self
            .home
            .json(&[&task[..], &["--workspace", &workspace.id]].concat());
        crate::common::text(&added["task"]["id"])
    }

    /// Adds a message as a person does, and returns its id.
    pub(crate) fn say(&self, workspace: &Workspace, task: &str, text: &str) -> String {
        let reply = ["task", "reply", "--task", task, "--text", text];
        let added = self
            .home
            .json(&[&reply[..], &["--workspace", &workspace.id]].concat());
        crate::common::text(&added["message"]["id"])
    }

    /// Calls the API as the operator does, over the control socket.
    pub(crate) async fn operate(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let socket = self.home.data_dir().join("control.sock");
        let stream = UnixStream::connect(socket).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("host", "control.sock")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    pub(crate) fn rotate(&self) -> Value {
        self.home
            .json(&["token", "rotate", "--workspace", &self.acme.id])
    }
}

impl Agent {
    /// The same client under another name, without a session.
    pub(crate) fn called(&self, name: &str, version: &str) -> Self {
        Self {
            session: None,
            name: (name.to_owned(), version.to_owned()),
            ..self.clone()
        }
    }

    /// The same client in the era of sessions.
    pub(crate) fn legacy(&self) -> Self {
        Self {
            era: Era::Legacy,
            ..self.clone()
        }
    }

    /// The same client with another token, without a session.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self {
            session: None,
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// The same client with another token in the same session.
    pub(crate) fn with_token_in_session(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// The same client at another of the workspace's URLs.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self {
            url: url.parse().unwrap(),
            ..self.clone()
        }
    }

    /// Opens a session; returns the answer to `initialize`.
    pub(crate) async fn initialize(&mut self) -> Value {
        self.session = None;
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": self.name.0, "version": self.name.1 },
        });
        let response = self.request(1, "initialize", params).await;
        assert_eq!(response.status(), StatusCode::OK);
        let session = response.headers()["mcp-session-id"].to_str().unwrap();
        self.session = Some(session.to_owned());
        let answer = answer(response).await;
        let initialized = self.notify("notifications/initialized", json!({})).await;
        assert_eq!(initialized, StatusCode::ACCEPTED);
        answer
    }

    pub(crate) async fn notify(&self, method: &str, params: Value) -> StatusCode {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.send(Method::POST, &[], message.to_string())
            .await
            .status()
    }

    /// Sends a request as clients of the agent's era do.
    pub(crate) async fn request(&self, id: u32, method: &str, params: Value) -> Response<Incoming> {
        let mut message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let mut headers = Vec::new();
        let name = params["name"].as_str().unwrap_or_default();
        if self.era == Era::Modern {
            message["params"]["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            headers.extend([
                ("mcp-protocol-version", "2026-07-28"),
                ("mcp-method", method),
            ]);
            if !name.is_empty() {
                headers.push(("mcp-name", name));
            }
        }
        self.send(Method::POST, &headers, message.to_string()).await
    }

    /// Calls a tool and returns the response as it begins.
    pub(crate) async fn begin_call(
        &self,
        id: u32,
        tool: &str,
        arguments: Value,
    ) -> Response<Incoming> {
        let params = json!({ "name": tool, "arguments": arguments });
        self.request(id, "tools/call", params).await
    }

    /// Calls a tool.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> ToolResult {
        // Ids are used once in a session.
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let response = self.begin_call(id, tool, arguments).await;
        assert_eq!(response.status(), StatusCode::OK);
        let answer = answer(response).await;
        assert_eq!(answer["id"], id, "{answer}");
        let content = answer["result"]["content"].as_array().expect("a result");
        assert_eq!(content.len(), 1, "one block of text");
        ToolResult {
            text: content[0]["text"].as_str().unwrap().to_owned(),
            is_error: answer["result"]["isError"] == true,
        }
    }

    /// Calls a tool that has to succeed and returns its text.
    pub(crate) async fn text(&self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await;
        assert!(!result.is_error, "{result:?}");
        result.text
    }

    /// Calls a tool that has to refuse and returns its sentence.
    pub(crate) async fn refusal(&self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await;
        assert!(result.is_error, "{result:?}");
        result.text
    }

    /// Ends the session, as clients do that close cleanly.
    pub(crate) async fn end(&self) {
        let response = self.send(Method::DELETE, &[], String::new()).await;
        assert!(response.status().is_success(), "{}", response.status());
    }

    /// Opens the stream of the session.
    pub(crate) async fn listen(&self) -> Events {
        self.listen_with(&[]).await
    }

    /// Opens the stream again, after the event `last`.
    pub(crate) async fn listen_after(&self, last: &str) -> Events {
        self.listen_with(&[("last-event-id", last)]).await
    }

    async fn listen_with(&self, headers: &[(&str, &str)]) -> Events {
        let headers = [&[("accept", "text/event-stream")], headers].concat();
        let response = self.send(Method::GET, &headers, String::new()).await;
        assert_eq!(response.status(), StatusCode::OK);
        Events {
            body: response.into_body(),
            read: String::new(),
        }
    }

    async fn send(
        &self,
        method: Method,
        headers: &[(&str, &str)],
        body: String,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let path = self.url.path_and_query().unwrap().as_str();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![
            ("host", self.url.authority().unwrap().as_str()),
            ("authorization", &*bearer),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ];
        let agent = format!("{}/{}", self.name.0, self.name.1);
        all.push(("user-agent", &agent));
        if let Some(session) = &self.session {
            all.push(("mcp-session-id", session));
            all.push(("mcp-protocol-version", "2025-11-25"));
        }
        all.extend(headers);
        for (name, value) in all {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        sender.send_request(request).await.unwrap()
    }
}

/// The events of a stream that stays open.
pub(crate) struct Events {
    body: Incoming,
    read: String,
}

impl Events {
    /// Returns the next JSON-RPC message; `None` is that the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some((event, rest)) = self.read.split_once("\n\n") {
                let message = message(event);
                self.read = rest.to_owned();
                if message.is_some() {
                    return message;
                }
            }
            let frame = self.body.frame().await?.expect("a clean end");
            if let Ok(data) = frame.into_data() {
                self.read.push_str(std::str::from_utf8(&data).unwrap());
            }
        }
    }

    /// The same, which has to come within two seconds.
    pub(crate) async fn soon(&mut self) -> Option<Value> {
        let next = tokio::time::timeout(Duration::from_secs(2), self.next());
        next.await.expect("an event or the end")
    }

    /// Asserts that nothing comes for a while.
    pub(crate) async fn assert_silent(&mut self) {
        let next = tokio::time::timeout(Duration::from_millis(300), self.next());
        if let Ok(event) = next.await {
            panic!("there came {event:?}");
        }
    }
}

/// Returns the message of an event; there is none in those that only tell when to come back.
fn message(event: &str) -> Option<Value> {
    let data = event.lines().find_map(|line| line.strip_prefix("data:"))?;
    let data = data.trim();
    (!data.is_empty()).then(|| serde_json::from_str(data).unwrap())
}

/// Returns the one message that answers a request, be it JSON or the last event of a stream.
pub(crate) async fn answer(response: Response<Incoming>) -> Value {
    let is_stream = is_event_stream(response.headers());
    let body = tokio::time::timeout(Duration::from_secs(60), response.into_body().collect());
    let body = body.await.expect("an end").unwrap().to_bytes();
    let text = std::str::from_utf8(&body).unwrap();
    if !is_stream {
        return serde_json::from_str(text).unwrap();
    }
    let mut messages: Vec<Value> = text.split("\n\n").filter_map(message).collect();
    assert_eq!(messages.len(), 1, "{text}");
    messages.remove(0)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get("content-type")
        .is_some_and(|kind| kind == "text/event-stream")
}
