//! The word to stop: [`Shutdown`], and [`UntilShutdown`], the body that ends when it falls.

use std::{
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::{Notify, futures::OwnedNotified};

use crate::layer::grpc;

/// Says, once and to all who hold it, that the server stops.
#[derive(Clone, Debug, Default)]
pub(super) struct Shutdown {
    has_begun: Arc<AtomicBool>,
    notify: Arc<Notify>,
}

pin_project! {
    /// A response body that, if its length is unknown, ends when the server stops.
    #[derive(Debug)]
    pub(super) struct UntilShutdown<B> {
        #[pin]
        body: B,
        #[pin]
        end: Option<End>,
        // It owes its client the trailers of gRPC.
        owes_trailers: bool,
    }
}

pin_project! {
    /// What ends a body. Made before the body is first looked at, so that no word to stop is missed.
    #[derive(Debug)]
    struct End {
        shutdown: Shutdown,
        #[pin]
        notified: OwnedNotified,
    }
}

impl Shutdown {
    pub(super) fn begin(&self) {
        // Before the notification: who is notified, and who comes too late to be, sees it.
        self.has_begun.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::SeqCst)
    }

    /// Waits for the beginning.
    pub(super) async fn begun(self) {
        let notified = Arc::clone(&self.notify).notified_owned();
        if !self.has_begun() {
            notified.await;
        }
    }
}

impl<B: Body> UntilShutdown<B> {
    /// Guards the body of a response.
    pub(super) fn guard(response: Response<B>, shutdown: &Shutdown) -> Response<Self> {
        let (parts, body) = response.into_parts();
        let body = Self {
            owes_trailers: grpc::ends_in_trailers(&parts.headers),
            ..Self::new(body, shutdown)
        };
        Response::from_parts(parts, body)
    }

    fn new(body: B, shutdown: &Shutdown) -> Self {
        let is_open_ended = body.size_hint().exact().is_none() && !body.is_end_stream();
        let end = is_open_ended.then(|| End {
            shutdown: shutdown.clone(),
            notified: Arc::clone(&shutdown.notify).notified_owned(),
        });
        Self {
            body,
            end,
            owes_trailers: false,
        }
    }
}

impl<B: Body> Body for UntilShutdown<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let Some(end) = this.end.as_pin_mut() else {
            return this.body.poll_frame(cx);
        };
        let end = end.project();
        // Asked first, for a body that always has a frame ready never gets to the notification.
        if !end.shutdown.has_begun() {
            if let Poll::Ready(frame) = this.body.poll_frame(cx) {
                let is_last = matches!(&frame, Some(Ok(frame)) if frame.is_trailers());
                *this.owes_trailers &= !is_last && frame.is_some();
                return Poll::Ready(frame);
            }
            ready!(end.notified.poll(cx));
        }
        // Without them the client would take what it has for everything.
        let owes_trailers = mem::take(this.owes_trailers);
        Poll::Ready(owes_trailers.then(|| Ok(Frame::trailers(grpc::stop_trailers()))))
    }

    fn is_end_stream(&self) -> bool {
        let is_ended = |end: &End| end.shutdown.has_begun() && !self.owes_trailers;
        self.body.is_end_stream() || self.end.as_ref().is_some_and(is_ended)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full, StreamBody};
    use tokio_stream::Stream;

    use super::*;

    fn endless() -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Unpin {
        tokio_stream::iter(std::iter::repeat_with(|| {
            Ok(Frame::data(Bytes::from_static(b"again")))
        }))
    }

    #[tokio::test]
    async fn ends_a_body_that_always_has_more() {
        let shutdown = Shutdown::default();
        let mut body = Box::pin(UntilShutdown::new(StreamBody::new(endless()), &shutdown));
        assert!(body.frame().await.is_some());
        shutdown.begin();
        assert!(body.frame().await.is_none());
        assert!(body.is_end_stream());
    }

    #[tokio::test]
    async fn a_stream_of_grpc_says_that_the_server_stops() {
        let shutdown = Shutdown::default();
        let mut response = Response::new(StreamBody::new(endless()));
        let grpc = http::HeaderValue::from_static("application/grpc");
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, grpc);
        let mut body = Box::pin(UntilShutdown::guard(response, &shutdown).into_body());
        assert!(body.frame().await.is_some());
        shutdown.begin();
        assert!(!body.is_end_stream());
        let trailers = body.frame().await.unwrap().unwrap().into_trailers();
        assert_eq!(trailers.unwrap()["grpc-status"], "14");
        assert!(body.frame().await.is_none() && body.is_end_stream());
    }

    #[tokio::test]
    async fn wakes_a_body_that_waits() {
        let shutdown = Shutdown::default();
        let silent = StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let body = tokio::spawn(UntilShutdown::new(silent, &shutdown).collect());
        tokio::task::yield_now().await;
        shutdown.begin();
        assert!(body.await.unwrap().unwrap().to_bytes().is_empty());
    }

    #[tokio::test]
    async fn ends_a_body_that_was_made_after_the_stop() {
        let shutdown = Shutdown::default();
        shutdown.begin();
        let mut body = Box::pin(UntilShutdown::new(StreamBody::new(endless()), &shutdown));
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn leaves_a_body_of_known_length_alone() {
        let shutdown = Shutdown::default();
        shutdown.begin();
        let body = UntilShutdown::new(Full::new(Bytes::from_static(b"whole")), &shutdown);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "whole");
    }
}
