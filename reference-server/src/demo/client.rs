//! MCP over HTTP, revision 2025-11-25: a session, calls of tools, notifications, and the stream of what
//! the server begins.
//!
//! Small, and on the hyper that the control socket is asked with: a whole client library would be in
//! every server for the sake of the demo.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use zeroize::Zeroizing;

use super::events::Events;
use crate::mcp::NOT_NOW;

/// Where the agent connects, and with which token.
pub(crate) struct Endpoint {
    address: SocketAddr,
    host: HeaderValue,
    path: String,
    token: SecretString,
}

/// An open session.
pub(super) struct Session {
    endpoint: Arc<Endpoint>,
    id: SecretString,
    next_request: AtomicU64,
}

/// Why the server did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// Anything else: the connection broke, or the answer was not understood.
    Broken(anyhow::Error),
    /// The token does not hold (any longer).
    Refused,
    /// The session does not hold any longer.
    SessionOver,
    /// The tool says what is wrong with the call.
    Tool(anyhow::Error),
}

impl Endpoint {
    /// The endpoint at `url`, which this very process serves on `address`.
    pub(super) fn new(address: SocketAddr, url: &str, token: SecretString) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().context("the endpoint's URL is none")?;
        let host = uri.authority().context("the endpoint's URL has no host")?;
        Ok(Self {
            address,
            host: HeaderValue::from_str(host.as_str())?,
            path: uri.path().to_owned(),
            token,
        })
    }

    async fn send(
        &self,
        method: Method,
        session: Option<&SecretString>,
        accept: &'static str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let response = timeout(PATIENCE, self.exchange(method, session, accept, body));
        let response = response.await.context("the server does not answer")??;
        match response.status() {
            StatusCode::UNAUTHORIZED => Err(Failure::Refused),
            StatusCode::NOT_FOUND => Err(Failure::SessionOver),
            status if status.is_success() => Ok(response),
            status => Err(anyhow!("the server answered {status}").into()),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        session: Option<&SecretString>,
        accept: &'static str,
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the response was read or dropped; an error shows there.
        tokio::spawn(connection);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.path.parse()?;
        *request.headers_mut() = self.headers(session, accept)?;
        Ok(sender.send_request(request).await?)
    }

    fn headers(
        &self,
        session: Option<&SecretString>,
        accept: &'static str,
    ) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, self.host.clone());
        let bearer = Zeroizing::new(format!("Bearer {}", self.token.expose_secret()));
        headers.insert(AUTHORIZATION, sensitive(&bearer)?);
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Some(session) = session {
            headers.insert(SESSION, sensitive(session.expose_secret())?);
            headers.insert(PROTOCOL, HeaderValue::from_static(REVISION));
        }
        Ok(headers)
    }
}

impl Session {
    /// Opens a session.
    pub(super) async fn open(endpoint: Arc<Endpoint>) -> Result<Self, Failure> {
        let request = json!({
            "jsonrpc": "2.0",
            "id": 0,
            "method": "initialize",
            "params": {
                "protocolVersion": REVISION,
                "capabilities": {},
                "clientInfo": { "name": NAME, "version": env!("CARGO_PKG_VERSION") },
            },
        });
        let body = request.to_string().into();
        let response = endpoint.send(Method::POST, None, EITHER, body).await?;
        let id = response.headers().get(SESSION);
        let id = id.context("the server opens no session")?;
        let session = Self {
            id: id.to_str().context("the session's id is no text")?.into(),
            endpoint,
            next_request: AtomicU64::new(1),
        };
        timeout(PATIENCE, answer(response, 0))
            .await
            .context("the server does not answer")??;
        session
            .notify("notifications/initialized", json!({}))
            .await?;
        Ok(session)
    }

    /// Calls a tool and returns its text, and calls again for as long as it says that it cannot do it now.
    /// `wait` is how long the tool itself may take.
    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: Value,
        wait: Duration,
    ) -> Result<String, Failure> {
        loop {
            match self.call_once(tool, &arguments, wait).await {
                Err(Failure::Tool(refusal)) if refusal.to_string() == NOT_NOW => {
                    tracing::warn!("the demo's agent calls {tool} again: {refusal}");
                    sleep(PAUSE).await;
                }
                called => return called,
            }
        }
    }

    async fn call_once(
        &self,
        tool: &str,
        arguments: &Value,
        wait: Duration,
    ) -> Result<String, Failure> {
        let id = self.next_request.fetch_add(1, Ordering::Relaxed);
        let params = json!({ "name": tool, "arguments": arguments });
        let request =
            json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
        let called = async {
            let response = self.post(&request).await?;
            answer(response, id).await
        };
        let called = timeout(wait + PATIENCE, called).await;
        let result = called.context("the server does not answer")??;
        let text = result["content"][0]["text"].as_str();
        let text = text.context("the tool's result is no text")?.to_owned();
        match result["isError"] == true {
            true => Err(Failure::Tool(anyhow!(text))),
            false => Ok(text),
        }
    }

    /// Sends a notification.
    pub(super) async fn notify(&self, method: &str, params: Value) -> Result<(), Failure> {
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.post(&message).await?;
        Ok(())
    }

    /// Opens the stream of what the server begins.
    pub(super) async fn listen(&self) -> Result<Events, Failure> {
        let (session, body) = (Some(&self.id), Bytes::new());
        let response = self.endpoint.send(Method::GET, session, STREAM, body);
        Ok(Events::of(response.await?.into_body()))
    }

    /// Ends the session, as clients do that close cleanly.
    pub(super) async fn close(self) -> Result<(), Failure> {
        let (session, body) = (Some(&self.id), Bytes::new());
        let response = self.endpoint.send(Method::DELETE, session, EITHER, body);
        response.await?;
        Ok(())
    }

    async fn post(&self, message: &Value) -> Result<Response<Incoming>, Failure> {
        let (session, body) = (Some(&self.id), message.to_string().into());
        self.endpoint
            .send(Method::POST, session, EITHER, body)
            .await
    }
}

/// Reads the result of request `id`, which comes in a stream, or as the whole body.
async fn answer(response: Response<Incoming>, id: u64) -> Result<Value, Failure> {
    let mut message = match response.headers().get(CONTENT_TYPE) {
        Some(kind) if kind == STREAM => {
            let mut events = Events::of(response.into_body());
            loop {
                let message = events.next().await?;
                let message = message.context("the stream ended without an answer")?;
                if message["id"] == id {
                    break message;
                }
            }
        }
        _ => {
            let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
            let body = body.map_err(|_| anyhow!("the answer broke off"))?;
            serde_json::from_slice(&body.to_bytes()).context("the answer is no JSON")?
        }
    };
    match message.get_mut("result") {
        Some(result) => Ok(result.take()),
        None => Err(anyhow!("the server says: {}", message["error"]["message"]).into()),
    }
}

/// Returns a header's value that is not printed. Its memory is wiped by the allocator.
fn sensitive(text: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) | Self::Tool(error) => write!(f, "{error:#}"),
            Self::Refused => f.write_str("the token was refused"),
            Self::SessionOver => f.write_str("the session is over"),
        }
    }
}

/// What it calls itself: in MCP, and in HTTP, where a name is one word.
const NAME: &str = "Demo agent";
const AGENT: &str = concat!("demo-agent/", env!("CARGO_PKG_VERSION"));

const REVISION: &str = "2025-11-25";
const SESSION: &str = "mcp-session-id";
const PROTOCOL: &str = "mcp-protocol-version";
const EITHER: &str = "application/json, text/event-stream";
const STREAM: &str = "text/event-stream";

const MAX_BODY: usize = 1024 * 1024;

/// Before a tool is called again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_the_token() {
        let address = "127.0.0.1:1".parse().unwrap();
        let token = || SecretString::from("eyJ.not-to-be-seen.x");
        let endpoint = Endpoint::new(address, "http://127.0.0.1:1/mcp/acme", token()).unwrap();
        let headers = endpoint.headers(Some(&token()), EITHER).unwrap();
        for printed in [format!("{endpoint:?}"), format!("{headers:?}")] {
            assert!(!printed.contains("not-to-be-seen"), "{printed}");
        }
        assert!(headers[AUTHORIZATION].to_str().unwrap().contains("not-to"));
    }
}
