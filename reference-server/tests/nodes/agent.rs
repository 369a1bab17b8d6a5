//! [`Agent`]: a client of MCP's modern era that keeps its connection, and makes a new one when it breaks.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::json;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The list of tools: the check of the token, and nothing of the database behind it.
    List,
    /// A tool that reads the database.
    Tool,
}

/// A client at a workspace of one node.
#[derive(Debug)]
pub(crate) struct Agent {
    address: String,
    host: String,
    workspace: String,
    token: String,
    patience: Duration,
    stream: Option<TcpStream>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Agent {
    pub(crate) fn new(address: &str, workspace: &str, token: &str) -> Self {
        Self {
            address: address.to_owned(),
            host: address.to_owned(),
            workspace: workspace.to_owned(),
            token: token.to_owned(),
            patience: Duration::from_secs(15),
            stream: None,
        }
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// There was none.
    pub(crate) fn ask(&mut self, ask: Ask) -> io::Result<Reply> {
        let (method, name, params) = match ask {
            Ask::List => ("tools/list", None, json!({})),
            Ask::Tool => {
                let params = json!({ "name": "getWorkspace", "arguments": {} });
                ("tools/call", Some("getWorkspace"), params)
            }
        };
        self.request(method, name, params)
    }

    /// Sends any request of the modern era.
    ///
    /// # Errors
    /// There was no answer.
    pub(crate) fn request(
        &mut self,
        method: &str,
        name: Option<&str>,
        mut params: serde_json::Value,
    ) -> io::Result<Reply> {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let name = name.map_or_else(String::new, |name| format!("mcp-name: {name}\r\n"));
        let head = format!("mcp-protocol-version: 2026-07-28\r\nmcp-method: {method}\r\n{name}");
        self.post(&head, &body.to_string())
    }

    /// Posts a message to the workspace's MCP endpoint.
    ///
    /// # Errors
    /// There was no whole answer.
    pub(crate) fn post(&mut self, head: &str, body: &str) -> io::Result<Reply> {
        let request = format!(
            "POST /mcp/{} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: {}\r\n{head}\r\n{body}",
            self.workspace,
            self.host,
            self.token,
            body.len(),
        );
        let replied = self.exchange(&request);
        if replied.is_err() {
            self.stream = None;
        }
        replied
    }

    /// Waits longer than any call may.
    pub(crate) fn patient(self) -> Self {
        let patience = Duration::from_secs(70);
        Self { patience, ..self }
    }

    /// The same client with this host, whatever the address.
    pub(crate) fn with_host(self, host: &str) -> Self {
        let host = host.to_owned();
        Self { host, ..self }
    }

    /// Opens a session, as clients of the era before do, and returns its id.
    pub(crate) fn open_session(&mut self) -> String {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        let message =
            json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
        let reply = self.post("", &message.to_string()).unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        let session = reply.field("mcp-session-id").unwrap().to_owned();
        let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let reply = self.in_session(&session, &initialized.to_string());
        assert_eq!(reply.unwrap().status, 202);
        session
    }

    /// Posts a message in a session.
    ///
    /// # Errors
    /// There was no whole answer.
    pub(crate) fn in_session(&mut self, session: &str, message: &str) -> io::Result<Reply> {
        let head = format!("mcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\n");
        self.post(&head, message)
    }

    /// Opens the stream of a session, on a connection of its own.
    pub(crate) fn listen(&self, session: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!(
            "GET /mcp/{} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\naccept: text/event-stream\r\nmcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\n\r\n",
            self.workspace, self.host, self.token
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    fn exchange(&mut self, request: &str) -> io::Result<Reply> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_read_timeout(Some(self.patience))?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        stream.write_all(request.as_bytes())?;
        let reply = Reply::read(stream)?;
        if reply.field("connection") == Some("close") {
            self.stream = None;
        }
        Ok(reply)
    }
}

impl Reply {
    fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut read = Vec::new();
        let mut ends_at = None;
        loop {
            if ends_at.is_none() {
                ends_at = read.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            }
            if let Some(end) = ends_at {
                let head = std::str::from_utf8(&read[..end]).map_err(io::Error::other)?;
                let body = &read[end + 4..];
                let is_whole = match field(head, "content-length") {
                    Some(length) => body.len() >= length.parse().map_err(io::Error::other)?,
                    None => body.ends_with(b"0\r\n\r\n"),
                };
                if is_whole {
                    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
                    return Ok(Self {
                        status: status.ok_or(io::ErrorKind::InvalidData)?,
                        head: head.to_owned(),
                        body: String::from_utf8_lossy(body).into_owned(),
                    });
                }
            }
            let mut bytes = [0; 8192];
            match stream.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => read.extend_from_slice(&bytes[..length]),
            }
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
