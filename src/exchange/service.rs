//! [`TokenExchange`]: the service of the endpoint.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use http::{
    HeaderMap, Method, Request, Response,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body::Body;
use tower_service::Service;
use zeroize::Zeroizing;

use super::{ExchangeBody, ExchangeFuture, response::Problem};
use crate::authority::{TokenAuthority, VerifiedToken};

/// The most bytes of a form.
pub(super) const LARGEST_FORM: usize = 16 * 1024;

/// Exchanges the workspace token of each request for an access token; stands behind a
/// [`WorkspaceTokenLayer`](crate::WorkspaceTokenLayer). See the [module docs](super) for an example.
#[derive(Clone, Debug)]
pub struct TokenExchange {
    authority: TokenAuthority,
}

impl TokenExchange {
    /// Makes a service that has `authority` issue access tokens: that of the token layer.
    pub fn new(authority: TokenAuthority) -> Self {
        Self { authority }
    }
}

impl<B: Body> Service<Request<B>> for TokenExchange {
    type Response = Response<ExchangeBody>;
    type Error = Infallible;
    type Future = ExchangeFuture<B>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match admit(&request) {
            Ok(token) => {
                let (parts, body) = request.into_parts();
                // Wiped: people put tokens where they do not belong.
                let query = Zeroizing::new(parts.uri.query().unwrap_or_default().to_owned());
                ExchangeFuture::reading(self.authority.clone(), token, query, body)
            }
            Err(problem) => ExchangeFuture::refused(problem),
        }
    }
}

/// Checks all but what the client asks for.
fn admit<B: Body>(request: &Request<B>) -> Result<VerifiedToken, Problem> {
    if request.method() != Method::POST {
        return Err(Problem::NotPost);
    }
    let token = request.extensions().get::<VerifiedToken>();
    let token = token.ok_or_else(|| unadmitted(request.headers()))?;
    if token.was_in_url() {
        return Err(Problem::InUrl);
    }
    if token.expires_at().is_some() {
        return Err(Problem::AccessToken);
    }
    if request.body().size_hint().lower() > LARGEST_FORM as u64 {
        return Err(Problem::TooLarge);
    }
    if !request.body().is_end_stream() && !is_form(request.headers()) {
        return Err(Problem::NotForm);
    }
    Ok(token.clone())
}

/// Tells a request without a credential, which a layer with optional tokens lets through, from one that no layer has
/// seen: a layer takes out what it has read.
fn unadmitted(headers: &HeaderMap) -> Problem {
    match headers.contains_key(AUTHORIZATION) {
        true => Problem::Misconfigured,
        false => Problem::NoCredential,
    }
}

/// Returns whether the body is said to be a form; what is said of no body is not held against anybody.
fn is_form(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else {
        // As of a client that says nothing of a body that turns out to be empty.
        return true;
    };
    let essence = content_type.as_bytes().split(|byte| *byte == b';').next();
    essence.is_some_and(|essence| {
        let essence = essence.trim_ascii();
        essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    })
}
