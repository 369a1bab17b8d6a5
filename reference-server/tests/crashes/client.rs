//! A client that keeps its connection, and so asks thousands of times in a second.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};

/// A connection over which one request goes after the other.
pub(crate) struct Client<S> {
    stream: S,
    host: String,
    read: Vec<u8>,
}

/// The way of commands to a server: its control socket.
pub(crate) type Control = Client<UnixStream>;

/// The way of agents.
pub(crate) type Agent = Client<TcpStream>;

impl Control {
    pub(crate) fn connect(data_dir: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(data_dir.join("control.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self::new(stream, "control.sock".to_owned()))
    }

    /// Waits for an answer, whatever it is.
    pub(crate) fn is_answered(&mut self) -> io::Result<()> {
        self.ask("GET", "/api/v1/openapi.json", "", "").map(|_| ())
    }

    /// Runs an action, if the server lives to answer.
    ///
    /// # Errors
    /// There was no whole answer: it is not known whether it was done.
    pub(crate) fn act(&mut self, path: &str, arguments: &Value) -> io::Result<(u16, Value)> {
        let head = "content-type: application/json\r\n";
        let target = format!("/api/v1{path}");
        let (status, body) = self.ask("POST", &target, head, &arguments.to_string())?;
        let body = serde_json::from_slice(&body).map_err(io::Error::other)?;
        Ok((status, body))
    }

    /// Runs an action that has to succeed.
    pub(crate) fn done(&mut self, path: &str, arguments: &Value) -> Value {
        let (status, body) = self.act(path, arguments).unwrap();
        assert!(status < 300, "{path}: {status} {body}");
        body
    }

    /// Returns the workspaces that are locked, since their rows are older than the rollback journal says.
    pub(crate) fn locked(&mut self) -> Vec<String> {
        let (status, body) = self.ask("GET", "/api/v1/workspaces", "", "").unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status, 200, "{body}");
        let workspaces = body["workspaces"].as_array().unwrap().iter();
        let locked = workspaces.filter(|workspace| workspace["locked"].as_bool().unwrap());
        locked
            .map(|workspace| workspace["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Returns the keys, each with how many live tokens need it.
    pub(crate) fn keys(&mut self) -> Vec<Value> {
        let (status, body) = self.ask("GET", "/api/v1/keys", "", "").unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status, 200, "{body}");
        body["keys"].as_array().unwrap().clone()
    }

    /// Takes away each former key that no live token needs. One by one: a change that failed half-way may take
    /// another one with it.
    pub(crate) fn retire_unneeded(&mut self) {
        let is_unneeded = |key: &Value| key["role"] == "former" && key["tokens"] == 0;
        while let Some(key) = self.keys().into_iter().find(is_unneeded) {
            let id = key["id"].as_str().unwrap();
            self.done(&format!("/keys/{id}/retire"), &json!({}));
        }
    }
}

impl Agent {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self::new(stream, address.to_owned()))
    }

    /// Whether a token is let in at a workspace; anything but a plain yes or no is an error.
    pub(crate) fn admits(&mut self, workspace: &str, token: &str) -> Result<bool, String> {
        let head = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
        let asked = self.ask("POST", &format!("/mcp/{workspace}"), &head, "");
        match asked.map_err(|error| error.to_string())? {
            (401, _) => Ok(false),
            // What is behind refuses an empty message, or a client that accepts no stream.
            (200 | 202 | 400 | 406, _) => Ok(true),
            (status, body) => Err(format!("{status} {}", String::from_utf8_lossy(&body))),
        }
    }

    /// Opens a session; returns what stands for it.
    pub(crate) fn open_session(&mut self, workspace: &str, token: &str) -> Result<String, String> {
        let head = format!(
            "authorization: Bearer {token}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n"
        );
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}}});
        let target = format!("/mcp/{workspace}");
        self.send("POST", &target, &head, &body.to_string())
            .and_then(|()| self.head())
            .map_err(|error| error.to_string())
            .and_then(|head| {
                let session = field(&head, "mcp-session-id").map(str::to_owned);
                // The body may be a stream, and nobody is interested in its end.
                self.read.clear();
                session.ok_or(head)
            })
    }

    /// Returns the status of a ping in a session.
    pub(crate) fn ping(&mut self, workspace: &str, token: &str, session: &str) -> io::Result<u16> {
        let head = format!(
            "authorization: Bearer {token}\r\nmcp-session-id: {session}\r\nmcp-protocol-version: 2025-06-18\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n"
        );
        let body = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
        self.send("POST", &format!("/mcp/{workspace}"), &head, body)?;
        let head = self.head()?;
        self.read.clear();
        Ok(status(&head))
    }
}

impl<S: Read + Write> Client<S> {
    fn new(stream: S, host: String) -> Self {
        Self {
            stream,
            host,
            read: Vec::new(),
        }
    }

    fn ask(
        &mut self,
        method: &str,
        target: &str,
        head: &str,
        body: &str,
    ) -> io::Result<(u16, Vec<u8>)> {
        self.send(method, target, head, body)?;
        let head = self.head()?;
        let length = field(&head, "content-length").unwrap_or("0");
        let length = length.parse().map_err(io::Error::other)?;
        while self.read.len() < length {
            self.more()?;
        }
        Ok((status(&head), self.read.drain(..length).collect()))
    }

    fn send(&mut self, method: &str, target: &str, head: &str, body: &str) -> io::Result<()> {
        let (host, length) = (&self.host, body.len());
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n{head}\r\n{body}"
        );
        self.stream.write_all(request.as_bytes())
    }

    /// Reads a head, and leaves what comes after it.
    fn head(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return String::from_utf8(head).map_err(io::Error::other);
            }
            self.more()?;
        }
    }

    fn more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 8192];
        match self.stream.read(&mut bytes)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => {
                self.read.extend_from_slice(&bytes[..length]);
                Ok(())
            }
        }
    }
}

fn status(head: &str) -> u16 {
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no status: {head}"))
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Long enough for any answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
