//! Over a real connection, without a web framework: the accept loop takes the service as it is.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rmcp::ServerHandler;
use serde_json::{Value, json};
use tower_layer::Layer as _;
use tower_workspace_token::{
    Keys, MemoryStore, TokenAuthority, TokenName, WorkspaceId, WorkspaceTokenLayer,
    layer::PathTemplate, serve::serve,
};
use tower_workspace_token_mcp::McpService;

struct NoTools;

impl ServerHandler for NoTools {}

#[tokio::test]
async fn is_served_by_the_accept_loop_in_one_line() {
    let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate().unwrap())
        .build()
        .unwrap();
    let workspace: WorkspaceId = "acme".parse().unwrap();
    let token = authority.issue(&workspace, &TokenName::primary()).await;
    let layer = WorkspaceTokenLayer::new(authority.clone(), PathTemplate::new("/mcp/{workspace}"));
    let mcp = McpService::new(authority, || Ok(NoTools));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { serve(listener, layer.layer(mcp)).await });

    let message = json!({
        "jsonrpc": "2.0", "id": 1, "method": "server/discover",
        "params": { "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        } },
    });
    let bearer = format!("Bearer {}", token.unwrap().expose_secret());
    let request = Request::post(format!("http://{address}/mcp/acme"))
        .header("authorization", bearer)
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "server/discover")
        .body(Full::new(Bytes::from(message.to_string())))
        .unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert!(answer["result"]["supportedVersions"].is_array(), "{answer}");
}
