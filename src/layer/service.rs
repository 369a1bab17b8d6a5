//! The service of the layer: decides in `call` what memory can decide, and waits for the rest.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    GuardedBody, ResponseFuture,
    layer::{Admission, Gate},
};
use crate::authority::polls;

/// The service of a [`WorkspaceTokenLayer`](super::WorkspaceTokenLayer).
#[derive(Clone, Debug)]
pub struct WorkspaceTokenService<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> WorkspaceTokenService<S> {
    pub(super) fn new(inner: S, gate: Arc<Gate>) -> Self {
        Self { inner, gate }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for WorkspaceTokenService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<GuardedBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        // Entered before the check, so that a rotation that the check did not see waits for `inner.call`.
        let _poll = polls::enter();
        let mut hold = None;
        match self.gate.admit(&mut request, &mut hold) {
            Admission::Anonymous(manners) => {
                ResponseFuture::anonymous(self.inner.call(request), manners)
            }
            Admission::Pending(pending, manners) => {
                // The service that was polled ready goes with the request; a fresh clone stays.
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                let gate = Arc::clone(&self.gate);
                ResponseFuture::checking(*pending, ready, request, gate, manners)
            }
            Admission::Rejected(response) => ResponseFuture::rejected(response),
            Admission::Verified(manners) => {
                let hold = hold.expect("a token that was verified has a hold");
                let responder = self.gate.responder().clone();
                // Nothing between the call and its place in the future, so that it is written there at once.
                ResponseFuture::running(self.inner.call(request), hold, None, responder, manners)
            }
            Admission::VerifiedAccess(deadline, manners) => {
                let hold = hold.expect("a token that was verified has a hold");
                let responder = self.gate.responder().clone();
                let future = self.inner.call(request);
                ResponseFuture::running(future, hold, deadline, responder, manners)
            }
        }
    }
}
