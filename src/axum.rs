//! Extractors for axum (feature `axum`).
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_workspace_token::{
//!     Keys, MemoryStore, PathTemplate, TokenAuthority, VerifiedToken, WorkspaceTokenLayer,
//! };
//!
//! async fn notes(token: VerifiedToken) -> String {
//!     format!("notes of {}", token.workspace())
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let app = Router::new().route("/w/{workspace}/notes", get(notes));
//!
//! // What an app gains:
//! let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
//! let workspace_of = PathTemplate::new("/w/{workspace}/*");
//! let app = app.layer(WorkspaceTokenLayer::new(authority.clone(), workspace_of));
//! # let _: Router = app;
//! # Ok(())
//! # }
//! ```
//!
//! `VerifiedToken` in a handler's arguments is the token of the request; on a route that no
//! [`WorkspaceTokenLayer`](crate::layer::WorkspaceTokenLayer) protects, the handler is not called and
//! the answer is a 500 that says so. Behind
//! [`with_optional_token`](crate::layer::WorkspaceTokenLayer::with_optional_token),
//! `Option<VerifiedToken>` is `None` for requests without a credential; one with a bad credential
//! never gets there.
//!
//! With this feature the layers also take the credential out of axum's `OriginalUri`.
//!
//! # Where to put the layer
//! - `Router::layer` covers what is routed before it, and what is not routed: a stranger cannot tell the two apart.
//! - `Router::route_layer` covers what is routed before it: for the rest there is axum's 404, for everybody.
//! - In a router that is nested in another one, the layer sees paths without the prefix, as all does there: write the
//!   template without it. The metadata address of a challenge then lacks it too, so put the layer around `nest` where
//!   clients look for that.
//!
//! [`RouteAudit`](https://docs.rs/tower-workspace-token/latest/tower_workspace_token/testing/struct.RouteAudit.html)
//! (feature `test-util`) finds a route that was forgotten.

use std::convert::Infallible;

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::request::Parts;

use crate::{
    authority::VerifiedToken,
    layer::reject,
    rejection::{Rejection, RejectionKind},
};

impl<S: Sync> FromRequestParts<S> for VerifiedToken {
    type Rejection = Unprotected;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Unprotected> {
        parts.extensions.get().cloned().ok_or(Unprotected(()))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for VerifiedToken {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned())
    }
}

/// The answer on a route whose handler asks for a token that no layer has verified.
#[derive(Clone, Copy, Debug)]
pub struct Unprotected(());

impl IntoResponse for Unprotected {
    fn into_response(self) -> Response {
        let rejection = Rejection::new(RejectionKind::Misconfigured);
        reject(&rejection).map(axum::body::Body::from)
    }
}
