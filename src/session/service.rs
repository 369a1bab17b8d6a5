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
    future::{Exchange, Outgoing},
    is_modern,
};
use crate::{
    authority::{Lease, VerifiedToken, sessions::Session},
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
        let lease = request
            .extensions()
            .get::<VerifiedToken>()
            .map(|token| token.lease().clone());
        let lease = lease.ok_or_else(|| Rejection::new(RejectionKind::Misconfigured))?;
        if is_modern(request) {
            request.headers_mut().remove(SESSION_ID);
            return Ok(Exchange::new(&self.layer, lease, Outgoing::Strip));
        }
        let outgoing = match one_session_id(request.headers())? {
            Some(presented) => {
                let session = self.find(&lease, &presented)?;
                let inner_id = HeaderValue::try_from(session.inner_id())
                    .expect("an id came out of a header of the inner service");
                request.headers_mut().insert(SESSION_ID, inner_id);
                let handle = SessionHandle::new(&session, &self.layer.authority);
                request.extensions_mut().insert(handle);
                let ends = request.method() == Method::DELETE;
                Outgoing::Keep {
                    in_use: session.begin_use(),
                    session,
                    presented,
                    ends,
                }
            }
            None if matches!(*request.method(), Method::GET | Method::DELETE) => {
                return Err(Rejection::new(RejectionKind::MissingSession));
            }
            None => {
                let lifetime = request
                    .extensions()
                    .get::<SessionLifetime>()
                    .map(|lifetime| lifetime.0);
                Outgoing::Open { lifetime }
            }
        };
        Ok(Exchange::new(&self.layer, lease, outgoing))
    }

    fn find(&self, lease: &Lease, presented: &HeaderValue) -> Result<Arc<Session>, Rejection> {
        let sessions = &self.layer.authority.inner().sessions;
        let session = sessions.find(lease, presented.as_bytes());
        session.ok_or_else(|| Rejection::new(RejectionKind::UnknownSession))
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

fn one_session_id(headers: &HeaderMap) -> Result<Option<HeaderValue>, Rejection> {
    let mut values = headers.get_all(SESSION_ID).iter();
    let first = values.next().cloned();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Rejection::new(RejectionKind::RepeatedSession)),
    }
}
