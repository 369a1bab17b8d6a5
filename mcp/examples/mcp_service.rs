//! An MCP server with one tool under workspace tokens, and what a client of it goes through: a session
//! token from `initialize`, a call with it, and an end to both when the workspace token is rotated.
//!
//! Run with
//! ```text
//! cargo run -p tower-workspace-token-mcp --example mcp_service
//! ```
//! It asks itself over a real connection and exits with an error if anything is not as it should be.

use std::{error::Error, net::SocketAddr};

use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rmcp::{
    RoleServer, ServerHandler,
    model::{CallToolResult, ContentBlock},
    service::RequestContext,
    tool, tool_handler, tool_router,
};
use serde_json::{Value, json};
use tower_workspace_token::{
    Keys, MemoryStore, TokenAuthority, TokenName, WorkspaceId, WorkspaceTokenLayer,
    layer::PathTemplate,
};
use tower_workspace_token_mcp::{McpService, verified_token};

struct MyTools;

#[tool_router]
impl MyTools {
    #[tool(description = "Says whose workspace this is")]
    async fn whoami(&self, context: RequestContext<RoleServer>) -> CallToolResult {
        match verified_token(&context) {
            Some(token) => CallToolResult::success(vec![ContentBlock::text(format!(
                "workspace {}, generation {}",
                token.workspace(),
                token.generation(),
            ))]),
            None => CallToolResult::error(vec![ContentBlock::text("no token layer")]),
        }
    }
}

#[tool_handler]
impl ServerHandler for MyTools {}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let workspace: WorkspaceId = "acme".parse()?;
    let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
    let old = authority.issue(&workspace, &TokenName::primary()).await?;

    let mcp = McpService::new(authority.clone(), || Ok(MyTools));
    let paths = PathTemplate::new("/mcp/{workspace}");
    let app = Router::new()
        .route_service("/mcp/{workspace}", mcp)
        .layer(WorkspaceTokenLayer::new(authority.clone(), paths));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });

    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "example", "version": "1" },
        },
    });
    let response = post(address, old.expose_secret(), None, &initialize).await?;
    let session = response.headers().get("mcp-session-id");
    let session = session.ok_or("no session")?.to_str()?.to_owned();
    println!("session token: {} characters, a JWT", session.len());

    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    post(address, old.expose_secret(), Some(&session), &initialized).await?;
    let call = json!({
        "jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": { "name": "whoami", "arguments": {} },
    });
    let response = post(address, old.expose_secret(), Some(&session), &call).await?;
    println!("the tool says: {}", text(response).await?);

    let alone = post(address, "", Some(&session), &call).await?.status();
    println!("the session token without the workspace token: {alone}");

    let receipt = authority.rotate(&workspace, &TokenName::primary()).await?;
    println!("rotated: {:?}", receipt.ended);
    let dead = post(address, old.expose_secret(), Some(&session), &call).await?;
    println!("the old token: {}", dead.status());
    let new = receipt.token.expose_secret();
    let unknown = post(address, new, Some(&session), &call).await?.status();
    println!("the new token with the old session: {unknown}, so the client initializes again");
    let again = post(address, new, None, &initialize).await?.status();
    println!("initialize with the new token: {again}");
    match (
        alone.as_u16(),
        dead.status().as_u16(),
        unknown.as_u16(),
        again.as_u16(),
    ) {
        (401, 401, 404, 200) => Ok(()),
        _ => Err("the server did not do what it should".into()),
    }
}

async fn post(
    address: SocketAddr,
    token: &str,
    session: Option<&str>,
    message: &Value,
) -> Result<Response<hyper::body::Incoming>, Box<dyn Error>> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut request = Request::post(format!("http://{address}/mcp/acme"))
        .header("authorization", format!("Bearer {token}"))
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json");
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    Ok(client
        .request(request.body(Full::from(message.to_string()))?)
        .await?)
}

/// Returns the text of a tool's result, which comes as the last event of a stream.
async fn text(response: Response<hyper::body::Incoming>) -> Result<String, Box<dyn Error>> {
    let body = response.into_body().collect().await?.to_bytes();
    let body = std::str::from_utf8(&body)?;
    let mut data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let answer: Value = serde_json::from_str(data.next_back().ok_or("no event")?)?;
    let text = answer["result"]["content"][0]["text"].as_str();
    Ok(text.ok_or("no text")?.to_owned())
}
