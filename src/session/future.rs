//! The response future: changes the inner service's session id into a session token.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use secrecy::ExposeSecret as _;

use super::{SESSION_ID, SessionBody, SessionHandle, SessionLayer};
use crate::{
    authority::{
        Lease,
        sessions::{NotOpened, Session, SessionLimits, SessionUse},
    },
    layer::reject,
    rejection::{Rejection, RejectionKind},
};

pin_project! {
    /// The future of a [`SessionService`](super::SessionService).
    pub struct SessionResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Rejected { rejection: Option<Rejection> },
        Running { #[pin] future: F, exchange: Option<Exchange> },
    }
}

/// What becomes of the session header of one response.
pub(super) enum Exchange {
    /// The request belongs to a session.
    Keep {
        in_use: SessionUse,
        presented: HeaderValue,
        /// The request ends the session.
        ends: bool,
    },
    /// The request may open a session.
    Open {
        layer: Arc<SessionLayer>,
        lease: Box<Lease>,
        lifetime: Option<Duration>,
    },
    /// There are no sessions in this era.
    Strip { layer: Arc<SessionLayer> },
}

impl<F> SessionResponseFuture<F> {
    pub(super) fn rejected(rejection: Rejection) -> Self {
        Self {
            state: State::Rejected {
                rejection: Some(rejection),
            },
        }
    }

    pub(super) fn running(future: F, exchange: Exchange) -> Self {
        Self {
            state: State::Running {
                future,
                exchange: Some(exchange),
            },
        }
    }
}

impl<F, B, E> Future for SessionResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<SessionBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match self.project().state.project() {
            StateProjection::Rejected { rejection } => Err(rejection
                .take()
                .expect("a future is not polled again after it was ready")),
            StateProjection::Running { future, exchange } => match future.poll(cx)? {
                Poll::Pending => {
                    if let Some(Exchange::Keep { in_use, .. }) = exchange {
                        in_use.take_time();
                    }
                    return Poll::Pending;
                }
                Poll::Ready(response) => exchange
                    .take()
                    .expect("a future is not polled again after it was ready")
                    .finish(response),
            },
        };
        Poll::Ready(Ok(result.unwrap_or_else(answer)))
    }
}

impl Exchange {
    fn finish<B: Body<Data = Bytes>>(
        self,
        mut response: Response<B>,
    ) -> Result<Response<SessionBody<B>>, Rejection> {
        let inner_id = response.headers_mut().remove(SESSION_ID);
        match self {
            Self::Strip { layer } => {
                // Nobody will ever name a session that the service opened all the same.
                if let Some(inner_id) = inner_id {
                    layer.end_inner(&inner_id);
                }
                Ok(response.map(SessionBody::sessionless))
            }
            Self::Open {
                layer,
                lease,
                lifetime,
            } => {
                let Some(inner_id) = inner_id else {
                    return Ok(response.map(SessionBody::sessionless));
                };
                let (token, session) = open(&layer, &lease, inner_id, lifetime)?;
                response.headers_mut().insert(SESSION_ID, token);
                response
                    .extensions_mut()
                    .insert(SessionHandle::new(&session));
                Ok(response.map(SessionBody::sessionless))
            }
            Self::Keep {
                in_use,
                presented,
                ends,
            } => {
                let session = in_use.session();
                if ends {
                    session.close();
                } else if let Some(inner_id) = inner_id {
                    // Likewise one that it opened inside of this one.
                    if inner_id != session.inner_id() {
                        session.end_stray(&inner_id);
                    }
                    response.headers_mut().insert(SESSION_ID, presented);
                }
                Ok(response.map(|body| SessionBody::of_session(body, in_use)))
            }
        }
    }
}

/// Opens a session for the inner service's id; ends that one if it cannot.
fn open(
    layer: &SessionLayer,
    lease: &Lease,
    inner_id: HeaderValue,
    lifetime: Option<Duration>,
) -> Result<(HeaderValue, Arc<Session>), Rejection> {
    let misconfigured = || Rejection::new(RejectionKind::Misconfigured);
    inner_id.to_str().map_err(|_| misconfigured())?;
    let authority = layer.authority.inner();
    authority.start_housekeeping();
    let limits = SessionLimits {
        lifetime: lifetime.unwrap_or(layer.limits.lifetime),
        ..layer.limits
    };
    let on_end = Arc::clone(&layer.on_end);
    let kind = match authority.open_session(lease, inner_id.clone(), &limits, on_end) {
        Ok((token, session)) => {
            let token = HeaderValue::try_from(token.expose_secret());
            return Ok((token.map_err(|_| misconfigured())?, session));
        }
        // The registry has called the end of this one already.
        Err(NotOpened::Ended) => return Err(Rejection::new(RejectionKind::TokenEnded)),
        Err(NotOpened::Limit) => RejectionKind::SessionLimit,
        Err(NotOpened::Cipher) => RejectionKind::StoreUnavailable,
    };
    layer.end_inner(&inner_id);
    Err(Rejection::new(kind))
}

fn answer<B: Body<Data = Bytes>>(rejection: Rejection) -> Response<SessionBody<B>> {
    let mut response = reject(&rejection).map(SessionBody::text);
    response.extensions_mut().insert(rejection);
    response
}

impl<F> fmt::Debug for SessionResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionResponseFuture")
            .finish_non_exhaustive()
    }
}
