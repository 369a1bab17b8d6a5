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
    body::{Ending, end_of, is_live, is_short},
    layer::{Gate, Manners, PendingAdmission, ResourceMetadata, Responder},
};
use crate::{
    authority::{
        VerifiedToken,
        access::Deadline,
        liveness::{Hold, Registration, Use},
        polls,
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
        #[pin]
        state: State<S, ReqBody, S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, ReqBody, F> {
        Anonymous { #[pin] future: F, manners: Manners },
        Checking { check: Check, held: Option<Box<Held<S, ReqBody>>>, manners: Manners },
        Rejected { response: Option<Box<Response<Bytes>>> },
        Running {
            #[pin]
            future: F,
            hold: Hold,
            // Of an access token alone.
            deadline: Option<Box<Deadline>>,
            registration: Option<Registration>,
            responder: Responder,
            manners: Manners,
        },
    }
}

/// What waits for the outcome of a check.
struct Held<S, ReqBody> {
    service: S,
    request: Request<ReqBody>,
    gate: Arc<Gate>,
    resource_metadata: ResourceMetadata,
}

impl<S, ReqBody> ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    #[inline]
    pub(super) fn anonymous(future: S::Future, manners: Manners) -> Self {
        Self {
            state: State::Anonymous { future, manners },
        }
    }

    pub(super) fn checking(
        pending: PendingAdmission,
        service: S,
        request: Request<ReqBody>,
        gate: Arc<Gate>,
        manners: Manners,
    ) -> Self {
        let PendingAdmission {
            check,
            resource_metadata,
        } = pending;
        let authority = gate.authority().clone();
        let check = Box::pin(async move { authority.settle(check).await });
        let held = Box::new(Held {
            service,
            request,
            gate,
            resource_metadata,
        });
        Self {
            state: State::Checking {
                check,
                held: Some(held),
                manners,
            },
        }
    }

    #[inline]
    pub(super) fn rejected(response: Box<Response<Bytes>>) -> Self {
        Self {
            state: State::Rejected {
                response: Some(response),
            },
        }
    }

    #[inline]
    pub(super) fn running(
        future: S::Future,
        hold: Hold,
        deadline: Option<Box<Deadline>>,
        responder: Responder,
        manners: Manners,
    ) -> Self {
        Self {
            state: State::Running {
                future,
                hold,
                deadline,
                registration: None,
                responder,
                manners,
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
        let mut state = self.project().state;
        loop {
            let rejected = match state.as_mut().project() {
                StateProjection::Anonymous { future, manners } => {
                    let mut response = ready!(future.poll(cx))?.map(GuardedBody::open);
                    manners.apply(response.headers_mut());
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Checking {
                    check,
                    held,
                    manners,
                } => {
                    let verified = ready!(check.as_mut().poll(cx));
                    let _poll = polls::enter();
                    let held = held
                        .take()
                        .expect("the state changes when the check is done");
                    let manners = *manners;
                    match verified.and_then(still_live) {
                        Err(rejection) => held.reject(rejection, manners),
                        Ok(token) => {
                            state.set(held.run(token, manners));
                            continue;
                        }
                    }
                }
                StateProjection::Rejected { response } => *response
                    .take()
                    .expect("a future is not polled again after it was ready"),
                StateProjection::Running {
                    future,
                    hold,
                    deadline,
                    registration,
                    responder,
                    manners,
                } => {
                    // Until the body is among the waiters: a rotation that finds neither a poll nor a
                    // waiter returns.
                    let _poll = polls::enter();
                    let was_live = is_live(hold, deadline);
                    if was_live || may_say_something(registration) {
                        match future.poll(cx) {
                            Poll::Ready(Ok(mut response)) => {
                                let farewell = take_farewell(&mut response);
                                if is_live(hold, deadline) || farewell.is_some() {
                                    manners.apply(response.headers_mut());
                                    let deadline = deadline.take();
                                    let guarded = guard(response, *hold, deadline, farewell);
                                    return Poll::Ready(Ok(guarded));
                                }
                            }
                            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                            Poll::Pending if was_live => {
                                wait(*hold, registration, cx);
                                if let Some(deadline) = deadline {
                                    deadline.wake(cx);
                                }
                                return Poll::Pending;
                            }
                            // It had nothing to say.
                            Poll::Pending => {}
                        }
                    }
                    responder.reject(Rejection::new(end_of(hold)), None, *manners)
                }
            };
            // Drops the inner future with all that it holds, here and now.
            state.set(State::Rejected { response: None });
            return Poll::Ready(Ok(rejected.map(GuardedBody::text)));
        }
    }
}

impl<S, ReqBody> Held<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn run(mut self, token: VerifiedToken, manners: Manners) -> State<S, ReqBody, S::Future> {
        let (hold, deadline) = (token.lease().hold(), token.lease().deadline());
        self.request.extensions_mut().insert(token);
        State::Running {
            future: self.service.call(self.request),
            hold,
            deadline,
            registration: None,
            responder: self.gate.responder().clone(),
            manners,
        }
    }
}

impl<S, ReqBody> Held<S, ReqBody> {
    fn reject(self, rejection: Rejection, manners: Manners) -> Response<Bytes> {
        let metadata = self.resource_metadata.as_deref();
        self.gate.responder().reject(rejection, metadata, manners)
    }
}

fn still_live(token: VerifiedToken) -> Result<VerifiedToken, Rejection> {
    if token.lease().is_live() {
        Ok(token)
    } else {
        Err(Rejection::new(RejectionKind::TokenEnded))
    }
}

/// Returns whether a call whose lease has ended is polled once more.
///
/// If it had begun it is: an inner service that waits for the end as well says so in its own words, marked
/// by [`Farewell`]. Not so one that the rotation has given up on: whatever it did then would come after
/// the rotation.
fn may_say_something(registration: &Option<Registration>) -> bool {
    registration
        .as_ref()
        .is_some_and(|registration| !registration.is_dismissed())
}

/// Takes out what marks a response as the inner service's own last words.
#[inline]
fn take_farewell<B>(response: &mut Response<B>) -> Option<Farewell> {
    // Hardly any response has extensions.
    if response.extensions().is_empty() {
        return None;
    }
    response.extensions_mut().remove::<Farewell>()
}

#[inline(always)]
fn guard<B: Body<Data = Bytes>>(
    response: Response<B>,
    hold: Hold,
    deadline: Option<Box<Deadline>>,
    farewell: Option<Farewell>,
) -> Response<GuardedBody<B>> {
    // Wrapped where it is: taken apart, all of its headers would be copied once more.
    if is_short(response.body()) {
        return response.map(GuardedBody::open);
    }
    let (parts, body) = response.into_parts();
    let ending = Ending::of(&parts.headers, farewell.map(|farewell| farewell.0));
    let body = GuardedBody::guarded(body, hold, deadline, ending);
    Response::from_parts(parts, body)
}

/// Joins the waiters.
fn wait(hold: Hold, registration: &mut Option<Registration>, cx: &Context<'_>) {
    match registration {
        Some(registration) => registration.rewake(cx.waker()),
        None => *registration = Some(hold.register(Use::Call, cx.waker().clone())),
    }
    if !hold.is_live() {
        // It ended while we registered: nobody else may wake us.
        cx.waker().wake_by_ref();
    }
}

impl<S, ReqBody> fmt::Debug for ResponseFuture<S, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
