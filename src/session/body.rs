//! The response body of the layer: ends with its session, and keeps the session from going idle while it is open.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    authority::sessions::SessionUse,
    layer::{Ending, GuardedBody, is_short},
};

pin_project! {
    /// A response body that ends when its session does.
    #[derive(Debug)]
    pub struct SessionBody<B> {
        #[pin]
        inner: GuardedBody<B>,
        in_use: Option<SessionUse>,
    }
}

impl<B: Body<Data = Bytes>> SessionBody<B> {
    pub(super) fn sessionless(inner: B) -> Self {
        Self {
            inner: GuardedBody::open(inner),
            in_use: None,
        }
    }

    pub(super) fn of_session(inner: B, in_use: SessionUse) -> Self {
        let inner = match is_short(&inner) {
            true => GuardedBody::open(inner),
            false => GuardedBody::guarded(inner, in_use.session().hold(), None, Ending::Silence),
        };
        Self {
            inner,
            in_use: Some(in_use),
        }
    }

    pub(super) fn text(text: Bytes) -> Self {
        Self {
            inner: GuardedBody::text(text),
            in_use: None,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for SessionBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = this.inner.poll_frame(cx);
        match &frame {
            Poll::Pending => this.in_use.iter_mut().for_each(SessionUse::take_time),
            Poll::Ready(None) => *this.in_use = None,
            Poll::Ready(Some(_)) => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
