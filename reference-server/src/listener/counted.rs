//! Counts the connections of a listener, those that are open and all there ever were.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_workspace_token::serve::Listener;

use crate::metrics::OpenConnection;

/// A listener that counts what it accepts.
#[derive(Debug)]
pub(crate) struct Counted<L> {
    inner: L,
    name: &'static str,
}

/// A connection that is counted for as long as it is there.
#[derive(Debug)]
pub(crate) struct CountedIo<I> {
    inner: I,
    _open: OpenConnection,
}

impl<L> Counted<L> {
    /// Counts under `name`.
    pub(crate) fn new(inner: L, name: &'static str) -> Self {
        Self { inner, name }
    }
}

impl<L: Listener> Listener for Counted<L> {
    type Io = CountedIo<L::Io>;
    type Peer = L::Peer;

    async fn accept(&mut self) -> io::Result<(Self::Io, L::Peer)> {
        let (inner, peer) = self.inner.accept().await?;
        let open = OpenConnection::new(self.name);
        Ok((CountedIo { inner, _open: open }, peer))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for CountedIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for CountedIo<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
