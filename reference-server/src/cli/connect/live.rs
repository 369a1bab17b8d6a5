//! One request to a workspace, which tells whether the server takes a token. It opens no session, follows
//! no redirect, and sends the token nowhere else.

use std::time::Duration;

use http::StatusCode;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::{
    cli::fetch::{self, Post},
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
    let post = Post {
        url: url.as_str(),
        bearer: token.as_ref(),
        headers: &[("mcp-protocol-version", VERSION), ("mcp-method", METHOD)],
        body: discover().to_string(),
        time: PATIENCE,
    };
    let (status, body) = match fetch::post(post).await {
        Ok(answered) => answered,
        Err(error) => return Answer::Unreachable(format!("{error:#}")),
    };
    match status {
        StatusCode::UNAUTHORIZED => Answer::Refused,
        StatusCode::TOO_MANY_REQUESTS => Answer::Busy(status),
        status if status.is_server_error() => Answer::Busy(status),
        _ if is_answer(&body) => Answer::Taken,
        status => Answer::Other(status),
    }
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
const PATIENCE: Duration = Duration::from_secs(10);
