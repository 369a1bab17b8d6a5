//! Workspace tokens for [tower](https://docs.rs/tower): the key to a workspace, sealed at rest, and
//! dead everywhere the instant it is rotated, open streams and running calls included.
//!
//! A *workspace* is where people and AI agents work together, over MCP or any other protocol on HTTP. A
//! *workspace token* is the key to one workspace: a long-lived JWT whose audience is the workspace,
//! without an expiry, shown once. It is valid for exactly one reason: it *is* the current token of its slot. A
//! signature alone opens nothing, nor does a copy of the database.
//!
//! ```
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tower::ServiceExt;
//! use tower_workspace_token::{
//!     Keys, MemoryStore, PathTemplate, TokenAuthority, TokenName, VerifiedToken, WorkspaceTokenLayer,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async fn notes(token: VerifiedToken) -> String {
//!     format!("notes of {}", token.workspace())
//! }
//!
//! let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
//! let layer = WorkspaceTokenLayer::new(authority.clone(), PathTemplate::new("/w/{workspace}/notes"));
//! let app = Router::new().route("/w/{workspace}/notes", get(notes)).layer(layer);
//!
//! let issued = authority.issue(&"acme".parse()?, &TokenName::primary()).await?;
//! let request = Request::get("/w/acme/notes")
//!     .header("host", "example.com")
//!     .header("authorization", format!("Bearer {}", issued.expose_secret()));
//! let response = app.clone().oneshot(request.body(Body::empty())?).await?;
//! assert_eq!(response.status(), 200);
//!
//! let receipt = authority.rotate(&"acme".parse()?, &TokenName::primary()).await?;
//! println!("the old token is dead; {} streams were ended", receipt.ended.streams);
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//! - [`authority`]: issue, verify, rotate, revoke; leases, for work that outlives a request.
//! - [`exchange`]: the endpoint where a workspace token is exchanged for a short-lived access token.
//! - [`layer`]: the middleware, with resolvers that say which workspace a request is for.
#![cfg_attr(
    feature = "session",
    doc = "- [`session`]: session tokens as `Mcp-Session-Id`."
)]
//! - [`store`]: where slots are kept. [`MemoryStore`] is here; SQLite is `tower-workspace-token-sqlite`,
//!   PostgreSQL `tower-workspace-token-postgres`.
//! - [`cipher`]: how tokens are sealed at rest, and key rings. [`jwt`]: how they are signed.
//! - [`rejection`]: what a request that is turned away gets to read, and what the log does.
//! - [`manual`]: threats, keys, rotation, query tokens, defaults and why, testing.
//!
//! # Features
//! None is on by default, and each only adds API.
//! - `axum`: [`VerifiedToken`] as an extractor; axum's `OriginalUri` cleaned of the credential.
//! - `session`: `SessionLayer`.
//! - `serve`: an accept loop for any tower service: header timeout, `TCP_NODELAY`, graceful stop.
//! - `warp`: filters for warp, and `serve`.
//! - `tracing`: a line for each rejection with its kind and status, without secrets, at level DEBUG: show it with
//!   `RUST_LOG=tower_workspace_token=debug`.
//! - `test-util`: for tests: of a store or a cipher of your own, its conformance suite; of your application, `testing`,
//!   with a clock that is moved by hand, bad credentials of every kind, and an audit of its routes.
//! - `full`: all but `test-util`.
//!
//! # How it works
//! Each slot has a *live cell*: one atomic generation. A check ends with a look at the cell, and all that
//! outlives a check keeps a hold of it. Rotation commits the next generation, raises the cell, wakes
//! whatever waits on the old one, and returns when nothing of it is left. What memory keeps of a live
//! token is a keyed tag, never the token.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]
#![cfg_attr(
    not(feature = "session"),
    expect(dead_code, unused_imports, reason = "the session layer is off")
)]

pub mod authority;
#[cfg(feature = "axum")]
pub mod axum;
pub mod cipher;
pub mod clock;
pub mod error;
pub mod exchange;
pub mod id;
pub mod jwt;
pub mod layer;
pub mod manual;
#[cfg(any(test, feature = "test-util"))]
mod prove;
pub mod rejection;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "session")]
pub mod session;
pub mod store;
mod sync;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod token;
#[cfg(feature = "warp")]
pub mod warp;

pub use authority::{Keys, Lease, TokenAuthority, VerifiedToken};
pub use id::{TokenName, WorkspaceId};
pub use layer::{CredentialScrubLayer, HostLabel, PathTemplate, WorkspaceTokenLayer};
#[cfg(feature = "session")]
pub use session::SessionLayer;
pub use store::{MemoryStore, TokenStore};
