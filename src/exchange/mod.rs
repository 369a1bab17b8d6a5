//! The endpoint where clients exchange their workspace token for an access token: [`TokenExchange`].
//!
//! An access token is a Bearer token as the workspace token is, for a quarter of an hour: what leaks of it, into a log
//! or a crash report, is worth little. It dies with the workspace token at once. A client that asks a helper for its
//! headers need not hold the workspace token at all.
//!
//! # Example
//! The endpoint stands behind the same [`WorkspaceTokenLayer`](crate::WorkspaceTokenLayer) as what it gives access to.
#![cfg_attr(feature = "axum", doc = "```")]
#![cfg_attr(not(feature = "axum"), doc = "```text")]
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tower::ServiceExt;
//! use tower_workspace_token::{
//!     Keys, MemoryStore, PathTemplate, TokenAuthority, TokenName, VerifiedToken, WorkspaceTokenLayer,
//!     exchange::TokenExchange,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
//! let layer = WorkspaceTokenLayer::new(authority.clone(), PathTemplate::new("/w/{workspace}/*"));
//! let app = Router::new()
//!     .route("/w/{workspace}/notes", get(async |token: VerifiedToken| token.workspace().to_string()))
//!     .route_service("/w/{workspace}/token", TokenExchange::new(authority.clone()))
//!     .layer(layer);
//!
//! let issued = authority.issue(&"acme".parse()?, &TokenName::primary()).await?;
//! let request = Request::post("/w/acme/token")
//!     .header("host", "example.com")
//!     .header("authorization", format!("Bearer {}", issued.expose_secret()));
//! let response = app.clone().oneshot(request.body(Body::empty())?).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # What is asked and answered
//! `POST`, with the workspace token as `Authorization: Bearer` and no body. The answer is that of RFC 8693 §2.2.1:
//! ```json
//! {"access_token":"eyJ…","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":900}
//! ```
//! With `?as=headers`, it is the headers that a client sends from then on, as Claude Code's `headersHelper` prints them:
//! ```json
//! {"Authorization":"Bearer eyJ…"}
//! ```
//! so that one line is such a helper, and keeps the token out of the arguments that other users see:
//! ```sh
//! printf 'Authorization: Bearer %s' "$WORKSPACE_TOKEN" | curl -sSf -X POST -H @- "$MCP_URL/token?as=headers"
//! ```
//! A form (`application/x-www-form-urlencoded`, up to 16 KiB) may come with it, as of clients that know RFC 8693: a
//! `grant_type` has to be `urn:ietf:params:oauth:grant-type:token-exchange`, a `requested_token_type` that of an access
//! token, and what is not known is ignored. Unlike there, `grant_type` may be left out, and the token comes in the header
//! alone: a `subject_token` is refused, and so is a token in the URL.
//!
//! Errors are those of RFC 6749 §5.2. An access token that is presented here is good for everything else, so the answer is
//! not 401, upon which clients look for another one, but `invalid_request` (RFC 8693 §2.2.2).

mod body;
mod form;
mod future;
mod response;
mod service;

pub use body::ExchangeBody;
pub use future::ExchangeFuture;
pub use service::TokenExchange;

#[cfg(test)]
mod tests;
