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
    layer::{Decision, Gate},
};
use crate::authority::polls::POLLS;

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

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        // Entered before the check, so that a rotation that the check did not see waits for `inner.call`.
        let _poll = POLLS.enter();
        let admission = self.gate.admit(&mut parts);
        let gate = Arc::clone(&self.gate);
        match admission.decision {
            Decision::Anonymous => {
                let future = self.inner.call(Request::from_parts(parts, body));
                ResponseFuture::anonymous(future, gate, admission.manners)
            }
            Decision::Pending(check) => {
                // The service that was polled ready goes with the request; a fresh clone stays.
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                let request = Request::from_parts(parts, body);
                ResponseFuture::checking(check, ready, request, gate, admission.manners)
            }
            Decision::Reject(rejection) => {
                ResponseFuture::rejected(rejection, gate, admission.manners)
            }
            Decision::Verified(token) => {
                let lease = token.lease().clone();
                parts.extensions.insert(token);
                let future = self.inner.call(Request::from_parts(parts, body));
                ResponseFuture::running(future, lease, gate, admission.manners)
            }
        }
    }
}
