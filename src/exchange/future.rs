//! The response future of the endpoint: reads the form, then exchanges the token.

use std::{
    convert::Infallible,
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf as _;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use zeroize::Zeroizing;

use super::{
    ExchangeBody, form,
    response::{self, Problem},
    service::LARGEST_FORM,
};
use crate::authority::{TokenAuthority, VerifiedToken};

type Exchanging = Pin<Box<dyn Future<Output = Response<ExchangeBody>> + Send>>;

pin_project! {
    /// The future of a [`TokenExchange`](super::TokenExchange).
    pub struct ExchangeFuture<B> {
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<B> {
        Exchanging { exchanging: Exchanging },
        Reading { #[pin] body: B, form: Zeroizing<Vec<u8>>, asked: Option<Box<Asked>> },
        Refused { problem: Problem },
    }
}

/// What is exchanged when the form is read.
struct Asked {
    authority: TokenAuthority,
    token: VerifiedToken,
    query: Zeroizing<String>,
}

impl<B> ExchangeFuture<B> {
    pub(super) fn reading(
        authority: TokenAuthority,
        token: VerifiedToken,
        query: Zeroizing<String>,
        body: B,
    ) -> Self {
        let asked = Asked {
            authority,
            token,
            query,
        };
        Self {
            state: State::Reading {
                body,
                form: Zeroizing::default(),
                asked: Some(Box::new(asked)),
            },
        }
    }

    pub(super) fn refused(problem: Problem) -> Self {
        Self {
            state: State::Refused { problem },
        }
    }
}

impl<B: Body> Future for ExchangeFuture<B> {
    type Output = Result<Response<ExchangeBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Exchanging { exchanging } => {
                    return exchanging.as_mut().poll(cx).map(Ok);
                }
                StateProjection::Reading { body, form, asked } => {
                    match ready!(poll_form(body, form, cx)) {
                        Ok(()) => {
                            let asked = asked.take();
                            let asked = asked.expect("the state changes when the form is read");
                            let exchanging = Box::pin(asked.exchange(mem::take(form)));
                            State::Exchanging { exchanging }
                        }
                        Err(problem) => State::Refused { problem },
                    }
                }
                StateProjection::Refused { problem } => {
                    return Poll::Ready(Ok(problem.into_response()));
                }
            };
            state.set(next);
        }
    }
}

impl Asked {
    async fn exchange(self: Box<Self>, form: Zeroizing<Vec<u8>>) -> Response<ExchangeBody> {
        let shape = match form::read(&self.query, &form) {
            Ok(shape) => shape,
            Err(problem) => return problem.into_response(),
        };
        match self.authority.exchange(&self.token).await {
            Ok(token) => response::hand_over(&token, shape),
            Err(error) => Problem::of(&error).into_response(),
        }
    }
}

/// Reads on; wiped by its owner, since people put tokens where they do not belong.
fn poll_form<B: Body>(
    mut body: Pin<&mut B>,
    form: &mut Zeroizing<Vec<u8>>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Problem>> {
    while let Some(frame) = ready!(body.as_mut().poll_frame(cx)) {
        let frame = frame.map_err(|_| Problem::Unreadable);
        // Trailers say nothing.
        let Ok(mut data) = frame?.into_data() else {
            continue;
        };
        if form.len() + data.remaining() > LARGEST_FORM {
            return Poll::Ready(Err(Problem::TooLarge));
        }
        if form.capacity() == 0 {
            form.reserve_exact(LARGEST_FORM);
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            let length = chunk.len();
            form.extend_from_slice(chunk);
            data.advance(length);
        }
    }
    Poll::Ready(Ok(()))
}

impl<B> fmt::Debug for ExchangeFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeFuture").finish_non_exhaustive()
    }
}
