//! The response body of the layer: carries its own answers, and ends open streams.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::grpc;
use crate::{
    authority::{
        access::Deadline,
        liveness::{Hold, Registration, Use},
        polls,
    },
    rejection::RejectionKind,
};

/// A body of known length up to this is passed on unguarded: it is over before anybody could cut it.
const SMALL: u64 = 64 * 1024;

pin_project! {
    /// A response body that ends when the token of its request does.
    ///
    /// It is open-ended bodies, and those above 64 KiB, that are guarded; they end in a clean end of stream, and
    /// those of [gRPC](super::grpc) in trailers.
    /// A body that announced its length and is cut short makes the HTTP library close the connection.
    pub struct GuardedBody<B> {
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<B> {
        Ended,
        Guarded {
            #[pin]
            inner: B,
            hold: Hold,
            // Of an access token alone.
            deadline: Option<Box<Deadline>>,
            registration: Registration,
            ending: Ending,
        },
        Open { #[pin] inner: B },
        Text { text: Option<Bytes> },
    }
}

/// What a guarded body says last when its token ends.
pub(crate) enum Ending {
    Farewell(Bytes),
    GrpcStatus,
    Silence,
}

impl Ending {
    /// Chooses what a response with these headers ends with.
    pub(super) fn of(headers: &HeaderMap, farewell: Option<Bytes>) -> Self {
        if grpc::ends_in_trailers(headers) {
            return Self::GrpcStatus;
        }
        match farewell {
            Some(farewell) if !farewell.is_empty() => Self::Farewell(farewell),
            _ => Self::Silence,
        }
    }

    /// Makes the last frame.
    ///
    /// A body that a rotation has given up on has no words left. That it was cut is said all the same
    /// where an end without it would read as a success.
    fn into_frame(self, is_dismissed: bool, hold: &Hold) -> Option<Frame<Bytes>> {
        match self {
            Self::Farewell(farewell) if !is_dismissed => Some(Frame::data(farewell)),
            Self::GrpcStatus => Some(Frame::trailers(grpc::last_trailers(end_of(hold)))),
            Self::Farewell(_) | Self::Silence => None,
        }
    }
}

impl<B: Body<Data = Bytes>> GuardedBody<B> {
    /// Passes `inner` on.
    pub(crate) fn open(inner: B) -> Self {
        Self {
            state: State::Open { inner },
        }
    }

    /// Makes an answer of our own. An empty one is over before it begins, as clients of gRPC have to see it.
    pub(crate) fn text(text: Bytes) -> Self {
        let state = match text.is_empty() {
            true => State::Ended,
            false => State::Text { text: Some(text) },
        };
        Self { state }
    }

    /// Passes `inner` on until `hold` ends; one that [is short](is_short) needs no guard.
    #[inline]
    pub(crate) fn guarded(
        inner: B,
        hold: Hold,
        deadline: Option<Box<Deadline>>,
        ending: Ending,
    ) -> Self {
        // Counted from the start, so that a rotation finds streams which nobody reads.
        let registration = hold.register(Use::Stream, std::task::Waker::noop().clone());
        Self {
            state: State::Guarded {
                inner,
                hold,
                deadline,
                registration,
                ending,
            },
        }
    }
}

impl<B: Body<Data = Bytes>> Body for GuardedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut state = self.project().state;
        let frame = match state.as_mut().project() {
            StateProjection::Ended => return Poll::Ready(None),
            StateProjection::Open { inner } => return inner.poll_frame(cx),
            StateProjection::Text { text } => {
                return Poll::Ready(text.take().map(|text| Ok(Frame::data(text))));
            }
            StateProjection::Guarded {
                inner,
                hold,
                deadline,
                registration,
                ending,
            } => {
                // Entered before the check: a rotation waits for a frame that the check let through.
                let _poll = polls::enter();
                match poll_while_live(inner, hold, deadline, registration, cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(frame)) => {
                        // Nothing comes after trailers, ours neither.
                        if frame.as_ref().is_ok_and(Frame::is_trailers) {
                            state.set(State::Ended);
                        }
                        return Poll::Ready(Some(frame));
                    }
                    Poll::Ready(None) if is_live(hold, deadline) => None,
                    Poll::Ready(None) => {
                        let ending = mem::replace(ending, Ending::Silence);
                        ending.into_frame(registration.is_dismissed(), hold)
                    }
                }
            }
        };
        // Drops the inner body and leaves the waiters: this is what a rotation waits for.
        state.set(State::Ended);
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Ended => true,
            // Also when nothing is left inside: the last frame may still come.
            State::Guarded {
                inner,
                hold,
                deadline,
                ..
            } => is_live(hold, deadline) && inner.is_end_stream(),
            State::Open { inner } => inner.is_end_stream(),
            State::Text { text } => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Ended => SizeHint::with_exact(0),
            State::Guarded { inner, .. } | State::Open { inner } => inner.size_hint(),
            State::Text { text } => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
        }
    }
}

fn poll_while_live<B: Body<Data = Bytes>>(
    inner: Pin<&mut B>,
    hold: &Hold,
    deadline: &mut Option<Box<Deadline>>,
    registration: &Registration,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
    if !is_live(hold, deadline) {
        return Poll::Ready(None);
    }
    match inner.poll_frame(cx) {
        Poll::Ready(frame) => Poll::Ready(frame),
        Poll::Pending => {
            registration.rewake(cx.waker());
            if let Some(deadline) = deadline {
                deadline.wake(cx);
            }
            // After the waker is in place: whoever ends the generation from here on wakes it.
            if hold.is_live() {
                Poll::Pending
            } else {
                Poll::Ready(None)
            }
        }
    }
}

/// Returns whether a body is over before anybody could cut it.
#[inline]
pub(crate) fn is_short(body: &impl Body) -> bool {
    let upper = || body.size_hint().upper();
    body.is_end_stream() || upper().is_some_and(|upper| upper <= SMALL)
}

/// Returns whether a call or stream may go on: its token is the current one, and the time of an access token not over.
#[inline]
pub(super) fn is_live(hold: &Hold, deadline: &Option<Box<Deadline>>) -> bool {
    hold.is_live() && deadline.as_ref().is_none_or(|it| !it.has_passed())
}

/// Says what ended of a call or stream that may not go on.
pub(super) fn end_of(hold: &Hold) -> RejectionKind {
    match hold.is_live() {
        true => RejectionKind::AccessTokenEnded,
        false => RejectionKind::TokenEnded,
    }
}

impl<B> fmt::Debug for GuardedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Ended => "ended",
            State::Guarded { .. } => "guarded",
            State::Open { .. } => "open",
            State::Text { .. } => "text",
        };
        f.debug_struct("GuardedBody")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
