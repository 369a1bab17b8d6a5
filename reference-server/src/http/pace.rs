//! [`Paced`]: a request's body that ends with an error if it comes too slowly.
//!
//! A client has some seconds for each piece, and for all pieces together as long as a slow line needs.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

pin_project! {
    /// A body that has to keep pace.
    pub(crate) struct Paced<B> {
        #[pin]
        body: B,
        read: u64,
        // Not there before the client is waited for: most bodies come with the head.
        wait: Option<Wait>,
    }
}

/// What is waited for, and since when.
struct Wait {
    began: Instant,
    end: Pin<Box<Sleep>>,
}

/// A body was given up since its client kept it waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooSlow;

impl<B> Paced<B> {
    pub(super) fn new(body: B) -> Self {
        Self {
            body,
            read: 0,
            wait: None,
        }
    }
}

impl<B> HttpBody for Paced<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            if let Some(Ok(frame)) = &frame {
                *this.read += frame.data_ref().map_or(0, |data| data.len() as u64);
                if let Some(wait) = this.wait {
                    let until = wait.until(*this.read);
                    wait.end.as_mut().reset(until);
                }
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let wait = this.wait.get_or_insert_with(Wait::begin);
        ready!(wait.end.as_mut().poll(cx));
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Wait {
    fn begin() -> Self {
        let began = Instant::now();
        Self {
            began,
            end: Box::pin(sleep_until(began + STALL)),
        }
    }

    /// Returns how long the next piece is waited for.
    fn until(&self, read: u64) -> Instant {
        let of_all = STALL + Duration::from_millis(read * 1000 / SLOWEST);
        (self.began + of_all).min(Instant::now() + STALL)
    }
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body came too slowly")
    }
}

impl Error for TooSlow {}

/// Long enough for what a bad line loses and sends again.
const STALL: Duration = Duration::from_secs(8);

/// Bytes in a second. Slower than any line that somebody works with.
const SLOWEST: u64 = 4 * 1024;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::sleep;

    use super::*;

    /// Reads a body of which pieces of this length come at this distance, and returns how much came.
    async fn read(distance: Duration, length: usize, pieces: usize) -> (u64, bool) {
        let pieces = stream::unfold(pieces, |left| async move {
            let left = left.checked_sub(1)?;
            sleep(distance).await;
            let piece = Frame::data(Bytes::from(vec![0; length]));
            Some((Ok::<_, Infallible>(piece), left))
        });
        let mut body = Box::pin(Paced::new(StreamBody::new(pieces)));
        while let Some(frame) = body.frame().await {
            if let Err(error) = frame {
                assert!(error.is::<TooSlow>());
                return (body.read, false);
            }
        }
        (body.read, true)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up() {
        let began = Instant::now();
        assert_eq!(read(Duration::from_secs(20), 1024, 1).await, (0, false));
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_single_bytes_is_given_up() {
        let began = Instant::now();
        let (_, is_whole) = read(Duration::from_secs(1), 1, 1000).await;
        assert!(!is_whole);
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_line_brings_all_of_its_body() {
        let all = read(Duration::from_secs(2), 10 * 1024, 400).await;
        assert_eq!(all, (4_096_000, true));
    }
}
