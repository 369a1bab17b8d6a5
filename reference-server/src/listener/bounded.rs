//! What the connections of a listener are held to: they are counted, there are so many at a time, and who
//! does not take what it asked for is cut off.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    num::NonZeroU32,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};
use tower_workspace_token::serve::Listener;

use super::shares::{Share, Shares};
use crate::metrics::{self, Limit, OpenConnection};

/// A listener that has so many connections at a time, of which each source may have some: who comes when
/// there are no more waits to be accepted, and who has its share already is hung up on.
#[derive(Debug)]
pub(crate) struct Bounded<L> {
    inner: L,
    name: &'static str,
    places: Arc<Semaphore>,
    shares: Shares,
    told: Option<Instant>,
    told_of_source: Option<Instant>,
}

/// A connection that has a place and is counted for as long as it is there.
#[derive(Debug)]
pub(crate) struct BoundedIo<I> {
    inner: I,
    /// Runs while the client does not take what is written. Not there unless it ever was so.
    stalled: Option<Pin<Box<Sleep>>>,
    is_stalled: bool,
    _open: OpenConnection,
    _place: OwnedSemaphorePermit,
    _share: Share,
}

impl<L> Bounded<L> {
    /// Counts under `name`.
    pub(crate) fn new(inner: L, name: &'static str, most: NonZeroU32, shares: Shares) -> Self {
        let most = usize::try_from(most.get()).map_or(Semaphore::MAX_PERMITS, |most| {
            most.min(Semaphore::MAX_PERMITS)
        });
        Self {
            inner,
            name,
            places: Arc::new(Semaphore::new(most)),
            shares,
            told: None,
            told_of_source: None,
        }
    }

    async fn place(&mut self) -> OwnedSemaphorePermit {
        if self.places.available_permits() == 0 {
            self.tell();
        }
        Arc::clone(&self.places)
            .acquire_owned()
            .await
            .expect("nobody closes the semaphore")
    }

    /// Says that the listener is full, at most once a minute.
    fn tell(&mut self) {
        metrics::limited(Limit::Connections);
        if is_time(&mut self.told) {
            tracing::warn!(
                listener = self.name,
                "as many connections are open as may be: new ones wait until one closes"
            );
        }
    }

    /// Says that a source has its share, at most once a minute.
    fn tell_of(&mut self, peer: SocketAddr) {
        metrics::limited(Limit::ConnectionsPerSource);
        if is_time(&mut self.told_of_source) {
            tracing::warn!(
                listener = self.name,
                source = %peer.ip().to_canonical(),
                "one source has as many connections open as it may: it is hung up on"
            );
        }
    }
}

/// Returns whether something is to be said again, and notes that it is.
fn is_time(told: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let is_time = told.is_none_or(|told| now - told >= TELL_AGAIN);
    if is_time {
        *told = Some(now);
    }
    is_time
}

impl<L: Listener<Peer = SocketAddr>> Listener for Bounded<L> {
    type Io = BoundedIo<L::Io>;
    type Peer = SocketAddr;

    async fn accept(&mut self) -> io::Result<(Self::Io, SocketAddr)> {
        // First a place: what is not accepted costs the process nothing.
        let place = self.place().await;
        let (inner, peer, share) = loop {
            let (inner, peer) = self.inner.accept().await?;
            match self.shares.take(peer.ip()) {
                Some(share) => break (inner, peer, share),
                // It is not left to wait: those behind it are of others.
                None => self.tell_of(peer),
            }
        };
        let io = BoundedIo {
            inner,
            stalled: None,
            is_stalled: false,
            _open: OpenConnection::new(self.name),
            _place: place,
            _share: share,
        };
        Ok((io, peer))
    }
}

impl<I> BoundedIo<I> {
    /// Passes on how far the client has taken what is written, or an error if it has taken nothing for long.
    fn within<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_stalled = false;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL)));
        if !self.is_stalled {
            self.is_stalled = true;
            stalled.as_mut().reset(Instant::now() + STALL);
        }
        match stalled.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for BoundedIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for BoundedIo<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.within(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.within(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.within(cx, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.within(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// Lets the process open as many files as the system allows, and returns how many of `most` connections
/// there is room for beside the files of its own.
pub(crate) fn make_room(most: NonZeroU32) -> NonZeroU32 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // Where that is refused, what was allowed before goes on to be.
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    // No limit at all is room for everybody.
    let Some(allowed) = allowed else { return most };
    let room = u32::try_from(allowed.saturating_sub(OWN_FILES)).unwrap_or(u32::MAX);
    let room = NonZeroU32::new(room).unwrap_or(NonZeroU32::MIN).min(most);
    if room < most {
        tracing::warn!(
            connections = room,
            "the system allows fewer open files than --max-connections needs: raise LimitNOFILE or ulimit -n"
        );
    }
    room
}

/// With what waits in the system's own buffers, a client has taken nothing for longer than this.
const STALL: Duration = Duration::from_secs(8);

const TELL_AGAIN: Duration = Duration::from_secs(60);

/// The database, its readers, the control socket, and handshakes under way.
const OWN_FILES: u64 = 512;
