//! Where connections come from: [`Listener`], for TCP and for Unix sockets.

use std::{future::Future, io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// A source of connections.
///
/// Implemented for [`TcpListener`] and, on Unix, for `tokio::net::UnixListener`. A listener of your own may
/// do a TLS handshake, or turn away peers; to turn one away, wait for the next in the same call.
pub trait Listener: Send + 'static {
    /// The connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Who is at the other end; requests carry it as the extension [`Peer`](super::Peer).
    type Peer: Clone + Send + Sync + 'static;

    /// Waits for the next connection.
    ///
    /// # Errors
    /// Of the kinds `ConnectionAborted`, `ConnectionRefused` and `ConnectionReset` if it concerns one
    /// connection, and [`serve`](super::serve()) calls again at once; it pauses after any other.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, Self::Peer)>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;
    type Peer = SocketAddr;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // Small frames of an event stream must not wait for the client's delayed acknowledgement. It
        // fails only if the client has gone already, which reading will tell.
        let _ = stream.set_nodelay(true);
        Ok((stream, peer))
    }
}

#[cfg(unix)]
impl Listener for tokio::net::UnixListener {
    type Io = tokio::net::UnixStream;
    /// The process at the other end, as the kernel vouches for it.
    type Peer = tokio::net::unix::UCred;

    async fn accept(&mut self) -> io::Result<(Self::Io, Self::Peer)> {
        let (stream, _) = tokio::net::UnixListener::accept(self).await?;
        let peer = stream.peer_cred()?;
        Ok((stream, peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sets_nodelay_on_what_it_accepts() {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (accepted, _) = Listener::accept(&mut listener).await.unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
