//! The tower middleware: [`WorkspaceTokenLayer`] lets in whoever holds the current token of the
//! workspace a request is for, and cuts them off when that token is rotated.
//!
//! # Example
//! What is routed before `.layer` is protected, and so is every path that is not routed; what is merged
//! afterwards stays open.
#![cfg_attr(feature = "axum", doc = "```")]
#![cfg_attr(not(feature = "axum"), doc = "```text")]
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tower::ServiceExt;
//! use tower_workspace_token::{
//!     Keys, MemoryStore, PathTemplate, TokenAuthority, VerifiedToken, WorkspaceTokenLayer,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
//! async fn notes(token: VerifiedToken) -> String {
//!     format!("notes of {}", token.workspace())
//! }
//!
//! let protected = Router::new()
//!     .route("/w/{workspace}/notes", get(notes))
//!     .layer(WorkspaceTokenLayer::new(authority, PathTemplate::new("/w/{workspace}/*")));
//! let app = Router::new().route("/health", get(|| async { "ok" })).merge(protected);
//!
//! for (path, status) in [("/health", 200), ("/w/acme/notes", 401), ("/elsewhere", 400)] {
//!     let request = Request::get(path).header("host", "example.com").body(Body::empty())?;
//!     assert_eq!(app.clone().oneshot(request).await?.status(), status);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A challenge names the metadata of RFC 9728, `/.well-known/oauth-protected-resource` and the path of the
//! request: clients that look for an authorization server ask there. Serve it, or let them find a 404.
//!
//! # Order of the checks
//! Host → `Origin` → places of the credential → token. The first that fails answers, and the inner
//! service is not called. What a rejected client reads is in [`rejection`](crate::rejection).
//!
//! # Order of the layers
//! [`CredentialScrubLayer`] (outermost) → trace, CORS → [`WorkspaceTokenLayer`] →
//! [`SessionLayer`](crate::session::SessionLayer) → your service. Without the outermost one, whatever
//! stands before the token layer sees the credential; what stands behind it never does.
//!
//! # Runtime
//! The end of what an access token has begun is told by a timer: that takes a Tokio runtime with its time enabled, or
//! the future panics. Outside of a Tokio runtime the next poll finds out.
//!
//! # gRPC
//! Clients of gRPC read the outcome of a call from `grpc-status` and not from the status of HTTP:
//! [`grpc`] has the response to rejected calls, and says how open streams end.
//!
//! # Deployment caveat
//! Bytes that were handed to the HTTP library before a rotation still reach the client, and a
//! connection that was upgraded (a WebSocket) is not watched: close it when
//! [`Lease::ended`](crate::authority::Lease::ended) completes.

mod body;
mod credential;
mod future;
pub mod grpc;
#[expect(
    clippy::module_inception,
    reason = "the folder is the middleware, the file its `Layer`"
)]
mod layer;
mod resolve;
mod response;
mod scrub;
mod service;

pub use body::GuardedBody;
#[cfg(feature = "session")]
pub(crate) use body::{Ending, is_short};
pub(crate) use credential::decode;
pub use future::ResponseFuture;
pub use layer::WorkspaceTokenLayer;
pub use resolve::{FixedWorkspace, HostLabel, PathTemplate, RequestAddress, WorkspaceResolver};
pub use response::Farewell;
pub(crate) use response::reject;
pub use scrub::{CredentialScrub, CredentialScrubLayer};
pub use service::WorkspaceTokenService;

#[cfg(test)]
mod tests;
