//! Bodies: requests' are read up to a limit, responses' know who reads them.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Full, combinators::BoxBody};
use pin_project_lite::pin_project;

use crate::{observer::Observation, presence::Here};

/// The body of what rmcp answers, and of the answers in its place.
pub struct McpBody {
    inner: Inner,
    /// Dropped with the body, which is when its reader is gone.
    _reader: Option<Here>,
    _observation: Option<Observation>,
}

enum Inner {
    Rmcp(BoxBody<Bytes, Infallible>),
    Text(Full<Bytes>),
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRead {
    /// It broke off.
    Broken,
    /// It is larger than the limit.
    TooLarge,
}

impl McpBody {
    pub(crate) fn of_rmcp(body: BoxBody<Bytes, Infallible>) -> Self {
        Self::unread(Inner::Rmcp(body))
    }

    pub(crate) fn text(text: Bytes) -> Self {
        Self::unread(Inner::Text(Full::new(text)))
    }

    fn unread(inner: Inner) -> Self {
        Self {
            inner,
            _reader: None,
            _observation: None,
        }
    }

    /// Keeps the client present, and its request under observation, as long as this is there.
    pub(crate) fn read_by(self, reader: Here, observation: Option<Observation>) -> Self {
        Self {
            _reader: Some(reader),
            _observation: observation,
            ..self
        }
    }
}

impl Body for McpBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.inner {
            Inner::Rmcp(body) => Pin::new(body).poll_frame(cx),
            Inner::Text(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Rmcp(body) => body.is_end_stream(),
            Inner::Text(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Rmcp(body) => body.size_hint(),
            Inner::Text(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for McpBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpBody").finish_non_exhaustive()
    }
}

pin_project! {
    /// Reads a body, up to a limit.
    pub(crate) struct Reading<B> {
        #[pin]
        body: B,
        limit: usize,
        // Mostly the first frame is all there is, and is taken as it is.
        first: Bytes,
        all: BytesMut,
    }
}

impl<B> Reading<B> {
    /// Reads `body`, and no more of it than `limit` bytes.
    pub(crate) fn new(body: B, limit: usize) -> Self {
        Self {
            body,
            limit,
            first: Bytes::new(),
            all: BytesMut::new(),
        }
    }
}

impl<B: Body> Future for Reading<B> {
    type Output = Result<Bytes, NotRead>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let read = this.first.len().max(this.all.len());
            let room = *this.limit - read;
            let is_too_large =
                |length: u64| usize::try_from(length).map_or(true, |length| length > room);
            // Before it has come, if the client says so.
            if is_too_large(this.body.size_hint().lower()) {
                return Poll::Ready(Err(NotRead::TooLarge));
            }
            let Some(frame) = ready!(this.body.as_mut().poll_frame(cx)) else {
                let all = std::mem::take(this.all);
                let whole = match all.is_empty() {
                    true => std::mem::take(this.first),
                    false => all.freeze(),
                };
                return Poll::Ready(Ok(whole));
            };
            let Ok(mut data) = frame.map_err(|_| NotRead::Broken)?.into_data() else {
                continue;
            };
            let length = data.remaining();
            if length > room {
                return Poll::Ready(Err(NotRead::TooLarge));
            }
            if read == 0 {
                *this.first = data.copy_to_bytes(length);
                continue;
            }
            if this.all.is_empty() {
                // Let go of: it would keep the read buffer that it is a piece of.
                this.all.extend_from_slice(&std::mem::take(this.first));
            }
            this.all.put(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body in pieces.
    struct Pieces(std::vec::IntoIter<&'static str>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let piece = self.0.next().map(|piece| Frame::data(Bytes::from(piece)));
            Poll::Ready(piece.map(Ok))
        }
    }

    #[tokio::test]
    async fn reads_the_pieces_in_order_and_counts_them_all() {
        let body = || Pieces(vec!["", "12", "34", "", "5"].into_iter());
        assert_eq!(Reading::new(body(), 5).await.unwrap(), "12345");
        assert_eq!(Reading::new(body(), 4).await, Err(NotRead::TooLarge));
    }

    #[tokio::test]
    async fn reads_up_to_the_limit_and_not_a_byte_more() {
        let body = || Full::new(Bytes::from_static(b"12345"));
        assert_eq!(Reading::new(body(), 5).await.unwrap(), "12345");
        assert_eq!(Reading::new(body(), 4).await, Err(NotRead::TooLarge));
    }
}
