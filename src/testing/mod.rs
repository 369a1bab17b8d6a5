//! For tests of your application (feature `test-util`): a workspace with a token, every kind of bad credential,
//! and an audit that fails where a route answers without one.
//!
//! [`TestWorkspace`] has an authority for the application under test, a token, and a clock that stands still until it
//! is moved. [`RouteAudit`] tries every route:
#![cfg_attr(feature = "axum", doc = "```")]
#![cfg_attr(not(feature = "axum"), doc = "```text")]
//! use axum::{Router, routing::get};
//! use tower_workspace_token::{
//!     PathTemplate, TokenAuthority, VerifiedToken, WorkspaceTokenLayer,
//!     testing::{RouteAudit, TestWorkspace},
//! };
//!
//! fn app(authority: TokenAuthority) -> Router {
//!     let layer = WorkspaceTokenLayer::new(authority, PathTemplate::new("/w/{workspace}/*"));
//!     let notes = async |token: VerifiedToken| format!("notes of {}", token.workspace());
//!     Router::new()
//!         .route("/w/{workspace}/notes", get(notes))
//!         .layer(layer)
//!         .route("/health", get(async || "ok"))
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let workspace = TestWorkspace::new().await;
//! let app = app(workspace.authority().clone());
//! RouteAudit::new(&workspace).with_public("/health").run(app).await;
//! # });
//! # Ok::<_, std::io::Error>(())
//! ```
//! A route that is added below `.layer`, as `/health` is, and is not listed as public, makes the audit fail; so does one
//! that is listed and is not there.
//!
//! # Rotation and time
//! ```
//! use http::{Method, StatusCode};
//! use tower::ServiceExt as _;
//! use tower_workspace_token::testing::TestWorkspace;
//! # use tower_layer::Layer as _;
//! # use tower_workspace_token::{WorkspaceTokenLayer, layer::FixedWorkspace};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let mut workspace = TestWorkspace::new().await;
//! # let layer = WorkspaceTokenLayer::new(workspace.authority().clone(), FixedWorkspace(*workspace.id()));
//! # let app = layer.layer(tower::service_fn(async |_: http::Request<()>| {
//! #     Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Empty::new()))
//! # }));
//! let before = workspace.request(Method::GET, "/w/acme/notes");
//! let ended = workspace.rotate().await;
//! assert_eq!(ended.left_behind, 0);
//! let after = workspace.request(Method::GET, "/w/acme/notes");
//! for (request, status) in [(before, StatusCode::UNAUTHORIZED), (after, StatusCode::OK)] {
//!     let response = app.clone().oneshot(request.map(|()| Default::default())).await.unwrap();
//!     assert_eq!(response.status(), status);
//! }
//! # });
//! # Ok::<_, std::io::Error>(())
//! ```
//! Sessions age by `workspace.clock().advance(..)`, and not by waiting.

mod audit;
mod credentials;
#[cfg(feature = "axum")]
mod routes;
#[cfg(feature = "session")]
mod sessions;
mod workspace;

pub use audit::{Finding, RouteAudit};
pub use credentials::BadCredential;
#[cfg(feature = "session")]
pub use sessions::BadSession;
pub use workspace::TestWorkspace;

#[cfg(all(test, feature = "axum", feature = "session"))]
mod tests;
