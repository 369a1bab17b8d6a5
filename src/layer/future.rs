//! The response future: checks, runs the inner service, and gives up on it when the token ends.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Farewell, GuardedBody,
    layer::{Gate, Manners},
};
use crate::{
    authority::{
        Lease, PendingCheck, VerifiedToken,
        liveness::{Registration, Use},
        polls::POLLS,
    },
    rejection::{Rejection, RejectionKind},
};

type Check = Pin<Box<dyn Future<Output = Result<VerifiedToken, Rejection>> + Send>>;

pin_project! {
    /// The future of a [`WorkspaceTokenService`](super::WorkspaceTokenService).
    pub struct ResponseFuture<S, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        gate: Arc<Gate>,
        manners: Manners,
        #[pin]
        state: State<S, ReqBody, S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, ReqBody, F> {
        Anonymous { #[pin] future: F },
        Checking { check: Check, held: Option<(S, Request<ReqBody>)> },
        Rejected { rejection: Option<Rejection> },
        Running { #[pin] future: F, lease: Lease, registration: Option<Registration> },
    }
}

impl<S, ReqBody> ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) fn anonymous(future: S::Future, gate: Arc<Gate>, manners: Manners) -> Self {
        Self {
            gate,
            manners,
            state: State::Anonymous { future },
        }
    }

    pub(super) fn checking(
        check: Box<PendingCheck>,
        ready: S,
        request: Request<ReqBody>,
        gate: Arc<Gate>,
        manners: Manners,
    ) -> Self {
        let authority = gate.authority().clone();
        let check = Box::pin(async move { authority.settle(check).await });
        Self {
            gate,
            manners,
            state: State::Checking {
                check,
                held: Some((ready, request)),
            },
        }
    }

    pub(super) fn rejected(rejection: Rejection, gate: Arc<Gate>, manners: Manners) -> Self {
        Self {
            gate,
            manners,
            state: State::Rejected {
                rejection: Some(rejection),
            },
        }
    }

    pub(super) fn running(
        future: S::Future,
        lease: Lease,
        gate: Arc<Gate>,
        manners: Manners,
    ) -> Self {
        Self {
            gate,
            manners,
            state: State::Running {
                future,
                lease,
                registration: None,
            },
        }
    }
}

impl<S, ReqBody, ResBody> Future for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body<Data = Bytes>,
{
    type Output = Result<Response<GuardedBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let rejection = match this.state.as_mut().project() {
                StateProjection::Anonymous { future } => {
                    let mut response = ready!(future.poll(cx))?.map(GuardedBody::open);
                    this.manners.apply(&mut response);
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Checking { check, held } => {
                    let verified = ready!(check.as_mut().poll(cx));
                    let _poll = POLLS.enter();
                    match verified.and_then(still_live) {
                        Err(rejection) => rejection,
                        Ok(token) => {
                            let (mut service, mut request) = held
                                .take()
                                .expect("the state changes when the check is done");
                            let lease = token.lease().clone();
                            request.extensions_mut().insert(token);
                            let future = service.call(request);
                            this.state.set(State::Running {
                                future,
                                lease,
                                registration: None,
                            });
                            continue;
                        }
                    }
                }
                StateProjection::Rejected { rejection } => rejection
                    .take()
                    .expect("a future is not polled again after it was ready"),
                StateProjection::Running {
                    future,
                    lease,
                    registration,
                } => {
                    // Until the body is among the waiters: a rotation that finds neither a poll nor a
                    // waiter returns.
                    let _poll = POLLS.enter();
                    match ready!(poll_running(future, lease, registration, cx)) {
                        Some(Ok(response)) => {
                            let mut response = guard(response, lease);
                            this.manners.apply(&mut response);
                            return Poll::Ready(Ok(response));
                        }
                        Some(Err(error)) => return Poll::Ready(Err(error)),
                        None => Rejection::new(RejectionKind::TokenEnded),
                    }
                }
            };
            let response = this
                .gate
                .reject(rejection, this.manners)
                .map(GuardedBody::text);
            // Drops the inner future with all that it holds, here and now.
            this.state.set(State::Rejected { rejection: None });
            return Poll::Ready(Ok(response));
        }
    }
}

fn still_live(token: VerifiedToken) -> Result<VerifiedToken, Rejection> {
    if token.lease().is_live() {
        Ok(token)
    } else {
        Err(Rejection::new(RejectionKind::TokenEnded))
    }
}

/// Polls the inner service as long as the lease holds; `None` is that it ended without an answer.
///
/// Called inside of the poll gate. When the lease has ended, a call that had begun is polled once more:
/// an inner service that waits for the end as well says so in its own words, marked by [`Farewell`]. Not
/// so one that the rotation has given up on: whatever it did then would come after the rotation.
fn poll_running<F, B, E>(
    future: Pin<&mut F>,
    lease: &Lease,
    registration: &mut Option<Registration>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Response<B>, E>>>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    let was_live = lease.is_live();
    let is_too_late = || registration.as_ref().is_none_or(Registration::is_dismissed);
    if !was_live && is_too_late() {
        return Poll::Ready(None);
    }
    match future.poll(cx) {
        Poll::Ready(Ok(response)) => {
            let is_answer = lease.is_live() || response.extensions().get::<Farewell>().is_some();
            Poll::Ready(is_answer.then_some(Ok(response)))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
        Poll::Pending if !was_live => Poll::Ready(None),
        Poll::Pending => {
            match registration {
                Some(registration) => registration.rewake(cx.waker()),
                None => {
                    *registration = Some(lease.hold().register(Use::Call, cx.waker().clone()));
                }
            }
            if !lease.is_live() {
                // It ended while we registered: nobody else may wake us.
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        }
    }
}

fn guard<B: Body<Data = Bytes>>(
    mut response: Response<B>,
    lease: &Lease,
) -> Response<GuardedBody<B>> {
    let farewell = response.extensions_mut().remove::<Farewell>();
    response
        .map(|body| GuardedBody::guarded(body, lease.hold(), farewell.map(|farewell| farewell.0)))
}

impl<S, ReqBody> fmt::Debug for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
