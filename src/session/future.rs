//! The response future: changes the inner service's session id into a session token.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
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
pub(super) struct Exchange {
    layer: Arc<SessionLayer>,
    lease: Lease,
    outgoing: Outgoing,
}

pub(super) enum Outgoing {
    /// The request belongs to a session.
    Keep {
        session: Arc<Session>,
        in_use: SessionUse,
        presented: HeaderValue,
        /// The request ends the session.
        ends: bool,
    },
    /// The request may open a session.
    Open { lifetime: Option<Duration> },
    /// There are no sessions in this era.
    Strip,
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
            StateProjection::Running { future, exchange } => {
                let response = ready!(future.poll(cx))?;
                exchange
                    .take()
                    .expect("a future is not polled again after it was ready")
                    .finish(response)
            }
        };
        Poll::Ready(Ok(result.unwrap_or_else(answer)))
    }
}

impl Exchange {
    pub(super) fn new(layer: &Arc<SessionLayer>, lease: Lease, outgoing: Outgoing) -> Self {
        Self {
            layer: Arc::clone(layer),
            lease,
            outgoing,
        }
    }

    fn finish<B: Body<Data = Bytes>>(
        self,
        mut response: Response<B>,
    ) -> Result<Response<SessionBody<B>>, Rejection> {
        let inner_id = response.headers_mut().remove(SESSION_ID);
        match self.outgoing {
            Outgoing::Strip => {
                // Nobody will ever name a session that the service opened all the same.
                if let Some(inner_id) = inner_id {
                    self.layer.end_inner(&inner_id);
                }
                Ok(response.map(SessionBody::sessionless))
            }
            Outgoing::Open { lifetime } => {
                let Some(inner_id) = inner_id else {
                    return Ok(response.map(SessionBody::sessionless));
                };
                let (token, session) = open(&self.layer, &self.lease, &inner_id, lifetime)?;
                response.headers_mut().insert(SESSION_ID, token);
                let handle = SessionHandle::new(&session, &self.layer.authority);
                response.extensions_mut().insert(handle);
                Ok(response.map(SessionBody::sessionless))
            }
            Outgoing::Keep {
                session,
                in_use,
                presented,
                ends,
            } => {
                if ends {
                    self.layer.authority.inner().sessions.end(&session);
                } else if let Some(inner_id) = inner_id {
                    // Likewise one that it opened inside of this one.
                    if inner_id.as_bytes() != session.inner_id().as_bytes() {
                        self.layer.end_inner(&inner_id);
                    }
                    response.headers_mut().insert(SESSION_ID, presented);
                }
                Ok(response.map(|body| SessionBody::of_session(body, &session, in_use)))
            }
        }
    }
}

/// Opens a session for the inner service's id; ends that one if it cannot.
fn open(
    layer: &SessionLayer,
    lease: &Lease,
    inner_id: &HeaderValue,
    lifetime: Option<Duration>,
) -> Result<(HeaderValue, Arc<Session>), Rejection> {
    let misconfigured = || Rejection::new(RejectionKind::Misconfigured);
    let inner_id = inner_id.to_str().map_err(|_| misconfigured())?;
    let authority = layer.authority.inner();
    authority.start_housekeeping();
    let limits = SessionLimits {
        lifetime: lifetime.unwrap_or(layer.limits.lifetime),
        ..layer.limits
    };
    let opened = authority.sessions.open(
        lease,
        inner_id,
        &limits,
        Arc::clone(&layer.on_end),
        &authority.clock,
    );
    let kind = match opened {
        Ok((token, session)) => {
            let token = HeaderValue::try_from(token.expose_secret());
            return Ok((token.map_err(|_| misconfigured())?, session));
        }
        // The registry has called the end of this one already.
        Err(NotOpened::Ended) => return Err(Rejection::new(RejectionKind::TokenEnded)),
        Err(NotOpened::Limit) => RejectionKind::SessionLimit,
        Err(NotOpened::Cipher) => RejectionKind::StoreUnavailable,
    };
    (layer.on_end)(inner_id);
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
