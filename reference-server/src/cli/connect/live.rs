//! One request to a workspace, which tells whether the server takes a token. It opens no session, follows
//! no redirect, and sends the token nowhere else.

use anyhow::Context as _;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::{
    client::{self, HttpClient, Trust},
    clients::McpUrl,
};

/// What the server made of it.
#[derive(Debug)]
pub(super) enum Answer {
    /// It cannot say now.
    Busy(StatusCode),
    /// It is no workspace that answers.
    Other(StatusCode),
    Refused,
    Taken,
    /// Why nobody answered.
    Unreachable(String),
}

/// Asks the workspace at `url`, with `token` or without.
pub(super) async fn ask(url: &McpUrl, token: Option<SecretString>) -> Answer {
    let answer = match post(url, token).await {
        Ok(answer) => answer,
        Err(error) => return Answer::Unreachable(format!("{error:#}")),
    };
    match answer.status {
        StatusCode::UNAUTHORIZED => Answer::Refused,
        status @ StatusCode::TOO_MANY_REQUESTS => Answer::Busy(status),
        status if status.is_server_error() => Answer::Busy(status),
        _ if is_answer(&answer.body) => Answer::Taken,
        status => Answer::Other(status),
    }
}

async fn post(url: &McpUrl, token: Option<SecretString>) -> anyhow::Result<client::Answer> {
    // Whoever asks has seen to it that no token goes in the clear.
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (ACCEPT.as_str(), "application/json, text/event-stream"),
        (CONTENT_TYPE.as_str(), "application/json"),
        ("mcp-method", METHOD),
        ("mcp-protocol-version", VERSION),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(token) = token {
        let bearer = client::bearer(token.expose_secret()).context("the token cannot be sent")?;
        headers.insert(AUTHORIZATION, bearer);
    }
    let client = HttpClient::new(&Trust::System)?;
    let body = discover().to_string().into();
    Ok(client.post(url.server(), url.path(), headers, body).await?)
}

/// Whatever an MCP server makes of the question, it says so in JSON-RPC and by our id: one that speaks older
/// revisions alone refuses it, behind the check of the token.
fn is_answer(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let data = text.lines().find_map(|line| line.strip_prefix("data:"));
    let answer: Option<Value> = serde_json::from_str(data.unwrap_or(&text)).ok();
    answer.is_some_and(|answer| answer["jsonrpc"] == "2.0" && answer["id"] == ID)
}

fn discover() -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": ID,
        "method": METHOD,
        "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientInfo": {"name": "wst connect", "version": env!("CARGO_PKG_VERSION")},
            "io.modelcontextprotocol/clientCapabilities": {},
        }},
    })
}

const ID: &str = "wst-connect";
const METHOD: &str = "server/discover";
const VERSION: &str = "2026-07-28";
