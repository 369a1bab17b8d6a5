//! [`CallLimit`]: so many calls and streams of one token may be open at a time. Stands behind the token layer.
//!
//! A call is counted from when its request came until the last byte of its answer is out, its client is gone,
//! or its token has ended: whatever of it is there holds an [`OpenCall`], and gives it back when it is
//! dropped. Each generation of a token is counted by itself, so that nothing of an old one is in the way of
//! the new one. What is kept is as much as is open.

use std::{
    collections::{HashMap, hash_map::Entry},
    num::NonZeroU32,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use axum::body::HttpBody;
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use hyper::body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::Service;
use tower_workspace_token::{VerifiedToken, id::TokenId};

use crate::metrics::{self, Limit};

/// The service in which the calls of each token are counted.
#[derive(Clone, Debug)]
pub(crate) struct CallLimit<S> {
    inner: S,
    calls: Calls,
}

/// How many calls are open, by token.
#[derive(Clone, Debug)]
struct Calls {
    open: Arc<Mutex<HashMap<TokenId, u32>>>,
    most: u32,
}

/// A call that is counted as open while this is there.
#[derive(Debug)]
struct OpenCall {
    calls: Calls,
    token: TokenId,
}

pin_project! {
    /// The future of a [`CallLimit`].
    pub(crate) struct CallFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Refused,
        // The future before the call: it is over when nothing of it is left.
        Running { #[pin] future: F, call: Option<OpenCall> },
    }
}

pin_project! {
    /// The body of a [`CallLimit`]'s responses.
    #[derive(Debug)]
    pub(crate) struct CallBody<B> {
        #[pin]
        content: Content<B>,
        call: Option<OpenCall>,
    }
}

pin_project! {
    #[project = ContentProjection]
    #[derive(Debug)]
    enum Content<B> {
        Answer { #[pin] body: B },
        Refusal { text: Option<Bytes> },
    }
}

impl<S> CallLimit<S> {
    pub(super) fn new(inner: S, most: NonZeroU32) -> Self {
        let calls = Calls {
            open: Arc::default(),
            most: most.get(),
        };
        Self { inner, calls }
    }
}

impl Calls {
    fn begin(&self, token: TokenId) -> Option<OpenCall> {
        match self.open().entry(token) {
            Entry::Occupied(open) if *open.get() >= self.most => return None,
            Entry::Occupied(mut open) => *open.get_mut() += 1,
            Entry::Vacant(none) => {
                none.insert(1);
            }
        }
        let calls = self.clone();
        Some(OpenCall { calls, token })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<TokenId, u32>> {
        // Whole at any time: a panic in between has left nothing half-done.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut open = self.calls.open();
        if let Entry::Occupied(mut entry) = open.entry(self.token) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for CallLimit<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<CallBody<ResBody>>;
    type Error = S::Error;
    type Future = CallFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // Without a token the inner service refuses. Who has too much open may end a session.
        let token = request.extensions().get::<VerifiedToken>();
        let token = token.filter(|_| request.method() != Method::DELETE);
        let call = match token.map(|token| self.calls.begin(token.token_id())) {
            Some(None) => {
                metrics::limited(Limit::CallsPerToken);
                let state = State::Refused;
                return CallFuture { state };
            }
            Some(call) => call,
            None => None,
        };
        let future = self.inner.call(request);
        CallFuture {
            state: State::Running { future, call },
        }
    }
}

impl<F, B, E> Future for CallFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<CallBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Refused => Poll::Ready(Ok(too_many())),
            StateProjection::Running { future, call } => {
                let response = ready!(future.poll(cx))?;
                let call = call.take();
                Poll::Ready(Ok(response.map(|body| CallBody {
                    content: Content::Answer { body },
                    call,
                })))
            }
        }
    }
}

fn too_many<B>() -> Response<CallBody<B>> {
    let mut response = Response::new(CallBody {
        content: Content::Refusal {
            text: Some(Bytes::from_static(TOO_MANY)),
        },
        call: None,
    });
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    for (name, value) in [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
        (RETRY_AFTER, RETRY_SECONDS),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

impl<B: HttpBody<Data = Bytes>> HttpBody for CallBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().content.project() {
            ContentProjection::Answer { body } => body.poll_frame(cx),
            ContentProjection::Refusal { text } => {
                Poll::Ready(text.take().map(|text| Ok(Frame::data(text))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Answer { body } => body.is_end_stream(),
            Content::Refusal { text } => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Answer { body } => body.size_hint(),
            Content::Refusal { text } => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
        }
    }
}

const TOO_MANY: &[u8] = br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Too many calls and streams of this workspace token are open at a time. Wait for some of them to end, then send the request again."}}"#;

/// Calls that wait are answered within a minute, and others at once.
const RETRY_SECONDS: &str = "5";

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use http_body_util::{BodyExt as _, Full};

    use super::*;

    type Never = std::future::Pending<Result<Response<Full<Bytes>>, Infallible>>;

    fn calls() -> (Calls, TokenId) {
        let limit = CallLimit::new((), NonZeroU32::new(2).unwrap());
        (limit.calls, "abcdefghijklmnop".parse().unwrap())
    }

    #[test]
    fn counts_each_token_by_itself_and_keeps_nothing_of_what_is_over() {
        let (calls, token) = calls();
        let other = "ponmlkjihgfedcba".parse().unwrap();
        let open = [calls.begin(token).unwrap(), calls.begin(token).unwrap()];
        assert!(calls.begin(token).is_none());
        let of_other = calls.begin(other).unwrap();
        drop(open);
        assert_eq!(calls.open().len(), 1);
        calls.begin(token).unwrap();
        drop(of_other);
        assert!(calls.open().is_empty());
    }

    #[test]
    fn a_call_that_is_dropped_before_its_answer_is_over() {
        let (calls, token) = calls();
        let future: Never = pending();
        let call = calls.begin(token);
        let call = CallFuture {
            state: State::Running { future, call },
        };
        assert_eq!(calls.open()[&token], 1);
        drop(call);
        assert!(calls.open().is_empty());
    }

    #[tokio::test]
    async fn a_call_is_over_when_its_body_is_and_not_before() {
        let (calls, token) = calls();
        let answer = Response::new(Full::new(Bytes::from_static(b"answer")));
        let answered = CallFuture {
            state: State::Running {
                future: std::future::ready(Ok::<_, Infallible>(answer)),
                call: calls.begin(token),
            },
        };
        let body = answered.await.unwrap().into_body();
        assert_eq!(calls.open()[&token], 1);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "answer");
        assert!(calls.open().is_empty());
    }
}
