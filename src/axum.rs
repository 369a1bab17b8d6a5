//! Extractors for axum (feature `axum`).
//!
//! `VerifiedToken` in a handler's arguments is the token of the request; on a route that no
//! [`WorkspaceTokenLayer`](crate::layer::WorkspaceTokenLayer) protects, the handler is not called and
//! the answer is a 500 that says so. Behind
//! [`with_optional_token`](crate::layer::WorkspaceTokenLayer::with_optional_token),
//! `Option<VerifiedToken>` is `None` for requests without a credential; one with a bad credential
//! never gets there.
//!
//! With this feature the layers also take the credential out of axum's `OriginalUri`.

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
