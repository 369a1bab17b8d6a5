//! The service of the layer: changes session tokens into the inner service's ids.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    SESSION_ID, SessionBody, SessionHandle, SessionLayer, SessionLifetime, SessionResponseFuture,
    future::Exchange, is_modern,
};
use crate::{
    authority::{Lease, VerifiedToken},
    rejection::{Rejection, RejectionKind},
};

/// The service of a [`SessionLayer`].
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    inner: S,
    layer: Arc<SessionLayer>,
}

impl<S> SessionService<S> {
    pub(super) fn new(inner: S, layer: Arc<SessionLayer>) -> Self {
        Self { inner, layer }
    }

    /// Checks the request's session and makes it one that the inner service understands.
    fn admit<B>(&self, request: &mut Request<B>) -> Result<Exchange, Rejection> {
        if is_modern(request) {
            lease_of(request)?;
            request.headers_mut().remove(SESSION_ID);
            return Ok(Exchange::Strip {
                layer: Arc::clone(&self.layer),
            });
        }
        let lease = lease_of(request)?;
        match one_session_id(request.headers())? {
            Some(presented) => {
                let authority = self.layer.authority.inner();
                let in_use = authority
                    .use_session(lease, presented.as_bytes())
                    .ok_or_else(|| Rejection::new(RejectionKind::UnknownSession))?;
                let inner_id = in_use.session().inner_id().clone();
                let presented = request.headers_mut().insert(SESSION_ID, inner_id);
                let handle = SessionHandle::new(in_use.session());
                request.extensions_mut().insert(handle);
                Ok(Exchange::Keep {
                    in_use,
                    presented: presented.expect("it was read a moment ago"),
                    ends: request.method() == Method::DELETE,
                })
            }
            None if matches!(*request.method(), Method::GET | Method::DELETE) => {
                Err(Rejection::new(RejectionKind::MissingSession))
            }
            None => Ok(Exchange::Open {
                layer: Arc::clone(&self.layer),
                lease: Box::new(lease.clone()),
                lifetime: request
                    .extensions()
                    .get::<SessionLifetime>()
                    .map(|lifetime| lifetime.0),
            }),
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for SessionService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<SessionBody<ResBody>>;
    type Error = S::Error;
    type Future = SessionResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        match self.admit(&mut request) {
            Ok(exchange) => SessionResponseFuture::running(self.inner.call(request), exchange),
            Err(rejection) => SessionResponseFuture::rejected(rejection),
        }
    }
}

fn lease_of<B>(request: &Request<B>) -> Result<&Lease, Rejection> {
    let token = request.extensions().get::<VerifiedToken>();
    token
        .map(VerifiedToken::lease)
        .ok_or_else(|| Rejection::new(RejectionKind::Misconfigured))
}

fn one_session_id(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Rejection> {
    let mut values = headers.get_all(SESSION_ID).iter();
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Rejection::new(RejectionKind::RepeatedSession)),
    }
}
