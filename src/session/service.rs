//! The service of the layer: changes session tokens into the inner service's ids.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Extensions, Method, Request, Response, header::Entry};
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
            lease_of(request.extensions())?;
            request.headers_mut().remove(SESSION_ID);
            return Ok(Exchange::Strip {
                layer: Arc::clone(&self.layer),
            });
        }
        // Apart from the request, whose header is changed while the token is read.
        let mut extensions = mem::take(request.extensions_mut());
        let exchange = self.enter_session(request, &mut extensions);
        *request.extensions_mut() = extensions;
        exchange
    }

    fn enter_session<B>(
        &self,
        request: &mut Request<B>,
        extensions: &mut Extensions,
    ) -> Result<Exchange, Rejection> {
        let lease = lease_of(extensions)?;
        let ends = request.method() == Method::DELETE;
        let needs_one = ends || request.method() == Method::GET;
        // One look for it, to read the session's token and to put the inner id into its place. There is none
        // where a request has as many headers as fit, which no client's has.
        let entry = request.headers_mut().try_entry(SESSION_ID);
        match entry.map_err(|_| Rejection::new(RejectionKind::UnknownSession))? {
            Entry::Occupied(presented) if presented.iter().nth(1).is_some() => {
                Err(Rejection::new(RejectionKind::RepeatedSession))
            }
            Entry::Occupied(mut header) => {
                let authority = self.layer.authority.inner();
                let in_use = authority
                    .use_session(lease, header.get().as_bytes())
                    .ok_or_else(|| Rejection::new(RejectionKind::UnknownSession))?;
                let presented = header.insert(in_use.session().inner_id().clone());
                extensions.insert(SessionHandle::new(in_use.session()));
                Ok(Exchange::Keep {
                    in_use,
                    presented,
                    ends,
                })
            }
            Entry::Vacant(_) if needs_one => Err(Rejection::new(RejectionKind::MissingSession)),
            Entry::Vacant(_) => Ok(Exchange::Open {
                layer: Arc::clone(&self.layer),
                lease: Box::new(lease.clone()),
                lifetime: extensions
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

fn lease_of(extensions: &Extensions) -> Result<&Lease, Rejection> {
    let token = extensions.get::<VerifiedToken>();
    token
        .map(VerifiedToken::lease)
        .ok_or_else(|| Rejection::new(RejectionKind::Misconfigured))
}
