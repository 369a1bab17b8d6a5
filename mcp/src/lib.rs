#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]
//! MCP services under [workspace tokens](tower_workspace_token).
//!
//! [`McpService`] is [rmcp]'s `StreamableHttpService` with session tokens in place of bare session ids,
//! in both eras of MCP, and with everything that runs in it ended by the rotation of its token.
//!
//! # Example
//! ```
//! use axum::Router;
//! use rmcp::{
//!     RoleServer, ServerHandler, model::CallToolResult, model::ContentBlock, service::RequestContext,
//!     tool, tool_handler, tool_router,
//! };
//! use tower_workspace_token::{
//!     Keys, MemoryStore, TokenAuthority, WorkspaceTokenLayer, layer::PathTemplate,
//! };
//! use tower_workspace_token_mcp::{McpService, verified_token};
//!
//! struct MyTools;
//!
//! #[tool_router]
//! impl MyTools {
//!     #[tool(description = "Says whose workspace this is")]
//!     async fn whoami(&self, context: RequestContext<RoleServer>) -> CallToolResult {
//!         let workspace = verified_token(&context).map(|token| token.workspace().to_string());
//!         CallToolResult::success(vec![ContentBlock::text(workspace.unwrap_or_default())])
//!     }
//! }
//!
//! #[tool_handler]
//! impl ServerHandler for MyTools {}
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
//! let mcp = McpService::new(authority.clone(), || Ok(MyTools));
//! let app: Router = Router::new()
//!     .route_service("/mcp/{workspace}", mcp)
//!     .layer(WorkspaceTokenLayer::new(authority, PathTemplate::new("/mcp/{workspace}")));
//! # Ok(())
//! # }
//! ```
//!
//! # The two eras
//! Up to 2025-11-25 a client sends `initialize` and works in a session: it gets a short-lived token as
//! its `Mcp-Session-Id`, which is worth nothing without the workspace token. From 2026-07-28 on every
//! request stands alone. One service answers both, unless [`with_protocol`](McpService::with_protocol)
//! says otherwise.
//!
//! # What a rotation does
//! When the token of a request is rotated or revoked
//! - a call that waits for its response is answered with a JSON-RPC error ([`TOKEN_ENDED`]);
//! - a response stream gets that error as its last event, `subscriptions/listen` its final result,
//!   and ends; the stream of a GET just ends;
//! - the running handler is dropped where it waits: rmcp spawns a task for each call, so each runs under
//!   [`Lease::guard`](tower_workspace_token::authority::Lease::guard), and `rotate` returns only when it
//!   is gone;
//! - the sessions of the token end, here and in rmcp.
//!
//! # Who is connected
//! An [`Observer`] hears of each session and request, and a
//! [`SessionHandle`](tower_workspace_token::session::SessionHandle) ends one session.
//!
//! # Deployment caveat
//! Turn on `TCP_NODELAY` for accepted connections: with Nagle's algorithm a client of the older era makes
//! 39 calls a second, without it 358. Sessions live in the memory of one process.

mod answer;
mod body;
mod client;
mod context;
mod endpoint;
mod future;
mod handler;
mod initialize;
mod message;
mod observer;
mod presence;
mod service;

pub use answer::TOKEN_ENDED;
pub use body::McpBody;
pub use context::{client_presence, verified_token, verified_token_in};
pub use future::McpResponseFuture;
pub use observer::{ClientInfo, ObservedRequest, Observer, Ongoing, RequestKind};
pub use presence::ClientPresence;
pub use service::{McpResponseBody, McpService, Protocol};
