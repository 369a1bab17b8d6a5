//! The layer that one writes by hand around a check that does not wait: no boxing, no clone of the service.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Request, Response, StatusCode, header::AUTHORIZATION};
use pin_project_lite::pin_project;
use tower::Service;

use crate::request::Body;

/// A check of a token.
pub trait Check: Clone {
    /// What the handler learns of who calls.
    type Identity: Clone + Send + Sync + 'static;

    /// Whether the identity goes into the request's extensions.
    const HANDS_OVER: bool = true;

    /// Whether the header is taken out of a request that passes.
    const SCRUBS: bool = false;

    /// Returns the identity if `token` is good.
    fn check(&self, token: &str) -> Option<Self::Identity>;
}

/// Lets requests through whose Bearer passes the check.
#[derive(Clone, Debug)]
pub struct Gate<S, C> {
    inner: S,
    check: C,
}

pin_project! {
    /// The future of [`Gate`]; without one of the service the request is turned away.
    #[derive(Debug)]
    pub struct GateFuture<F> {
        #[pin]
        future: Option<F>,
    }
}

impl<S, C> Gate<S, C> {
    /// Puts `check` before `inner`.
    pub fn new(inner: S, check: C) -> Self {
        Self { inner, check }
    }
}

impl<S, C> Service<Request<Body>> for Gate<S, C>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    C: Check,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = GateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let identity = bearer(request.headers()).and_then(|token| self.check.check(token));
        let future = identity.map(|identity| {
            if C::SCRUBS {
                drop(request.headers_mut().remove(AUTHORIZATION));
            }
            if C::HANDS_OVER {
                request.extensions_mut().insert(identity);
            }
            self.inner.call(request)
        });
        GateFuture { future }
    }
}

impl<F, E> Future for GateFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().future.as_pin_mut() {
            Some(future) => ready!(future.poll(cx)),
            None => Ok(unauthorized()),
        })
    }
}

/// Returns the token of an `Authorization: Bearer`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
}

/// Answers 401, with nothing else in it.
pub fn unauthorized<B: Default>() -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}
