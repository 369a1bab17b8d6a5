//! A layer that does nothing, with a future of its own: what any layer costs, and how noisy the machine is.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http::Request;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

/// The layer that does nothing.
#[derive(Clone, Copy, Debug)]
pub struct PassThroughLayer;

/// The service of [`PassThroughLayer`].
#[derive(Clone, Copy, Debug)]
pub struct PassThrough<S>(S);

pin_project! {
    /// The future of [`PassThrough`].
    #[derive(Debug)]
    pub struct PassThroughFuture<F> {
        #[pin]
        future: F,
    }
}

impl<S> Layer<S> for PassThroughLayer {
    type Service = PassThrough<S>;

    fn layer(&self, inner: S) -> PassThrough<S> {
        PassThrough(inner)
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for PassThrough<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = PassThroughFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        PassThroughFuture {
            future: self.0.call(request),
        }
    }
}

impl<F: Future> Future for PassThroughFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}
