//! The services that are protected: trivial, so that the difference is the layer.

use std::{
    convert::Infallible,
    future::{self, Ready},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Extensions, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use pin_project_lite::pin_project;
use tower::Service;

use crate::request::{self, Body};

/// Answers with a few bytes of JSON.
#[derive(Clone, Copy, Debug)]
pub struct Handler {
    /// Whether a layer handed an identity over.
    has_identity: fn(&Extensions) -> bool,
}

/// As [`Handler`], with a response body of which nobody knows the end.
#[derive(Clone, Copy, Debug)]
pub struct Streaming(pub Handler);

/// As [`Handler`]; opens a session for requests without one.
#[derive(Clone, Copy, Debug)]
pub struct Sessions(pub Handler);

/// One frame, and no length that was announced.
#[derive(Debug)]
pub struct OpenEnded(Option<Bytes>);

/// Reads the response's body to its end, as a server does that sends it.
#[derive(Clone, Copy, Debug)]
pub struct Reading<S>(pub S);

pin_project! {
    /// The future of [`Reading`].
    #[derive(Debug)]
    pub struct ReadingFuture<F> {
        #[pin]
        future: F,
    }
}

/// Whatever a lane's service answers with.
pub trait Answer {
    /// Returns the status.
    fn status(&self) -> StatusCode;
}

impl<B> Answer for Response<B> {
    fn status(&self) -> StatusCode {
        Response::status(self)
    }
}

/// The answer of a candidate that turns requests away with a body of another type.
#[derive(Debug)]
pub enum Answered<R> {
    /// The handler's answer.
    Admitted(Response<Body>),
    /// The candidate's.
    Refused(Response<R>),
}

impl<R> Answer for Answered<R> {
    fn status(&self) -> StatusCode {
        match self {
            Self::Admitted(response) => response.status(),
            Self::Refused(response) => response.status(),
        }
    }
}

impl Handler {
    /// Answers everybody.
    pub fn open() -> Self {
        Self {
            has_identity: |_| true,
        }
    }

    /// Answers 200 where the request's extensions hold an `I`, and 500 where a layer forgot about it.
    pub fn behind<I: Send + Sync + 'static>() -> Self {
        Self {
            has_identity: |extensions| extensions.get::<I>().is_some(),
        }
    }

    fn answer<B>(self, request: &Request<Body>, body: B) -> Response<B> {
        let mut response = Response::new(body);
        if !(self.has_identity)(request.extensions()) {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        response
    }
}

impl Service<Request<Body>> for Handler {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        future::ready(Ok(self.answer(&request, Body::new(json()))))
    }
}

impl Service<Request<Body>> for Streaming {
    type Response = Response<OpenEnded>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        future::ready(Ok(self.0.answer(&request, OpenEnded(Some(json())))))
    }
}

impl Service<Request<Body>> for Sessions {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut response = self.0.answer(&request, Body::new(json()));
        if !request::is_in_session(&request) {
            request::open_session(&mut response);
        }
        future::ready(Ok(response))
    }
}

impl<S, B> Service<Request<Body>> for Reading<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: HttpBody,
{
    type Response = Response<()>;
    type Error = S::Error;
    type Future = ReadingFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        ReadingFuture {
            future: self.0.call(request),
        }
    }
}

impl<F, B, E> Future for ReadingFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: HttpBody,
{
    type Output = Result<Response<()>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (parts, body) = ready!(self.project().future.poll(cx))?.into_parts();
        let mut body = pin!(body);
        while let Poll::Ready(Some(_)) = body.as_mut().poll_frame(cx) {}
        Poll::Ready(Ok(Response::from_parts(parts, ())))
    }
}

impl HttpBody for OpenEnded {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

fn json() -> Bytes {
    Bytes::from_static(request::JSON.as_bytes())
}
