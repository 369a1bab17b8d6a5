//! TLS on top of TCP: handshakes go on beside the loop that accepts, so that none holds up another.

use std::{collections::VecDeque, io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower_workspace_token::serve::Listener;

use super::certificate::Certificate;
use crate::metrics::{self, Handshake};

/// A listener whose connections speak TLS.
#[derive(Debug)]
pub(crate) struct TlsListener {
    tcp: TcpListener,
    certificate: Certificate,
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
    /// Oldest first; some of them have ended.
    pending: VecDeque<AbortHandle>,
    limits: Limits,
}

/// What clients that have not proved anything may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    pending: usize,
    time: Duration,
}

impl TlsListener {
    pub(crate) fn new(tcp: TcpListener, certificate: Certificate) -> Self {
        Self {
            tcp,
            certificate,
            handshakes: JoinSet::new(),
            pending: VecDeque::new(),
            limits: LIMITS,
        }
    }

    fn begin(&mut self, stream: TcpStream, peer: SocketAddr) {
        self.make_room();
        let acceptor = TlsAcceptor::from(self.certificate.current());
        let time = self.limits.time;
        let handshake = async move {
            let result = timeout(time, acceptor.accept(stream)).await;
            metrics::handshake_ended(match &result {
                Ok(Ok(_)) => Handshake::Done,
                Ok(Err(_)) => Handshake::Failed,
                Err(_) => Handshake::TimedOut,
            });
            match result {
                Ok(Ok(stream)) => Some((stream, peer)),
                Ok(Err(error)) => {
                    tracing::debug!(%peer, %error, "no TLS");
                    None
                }
                Err(_) => None,
            }
        };
        self.pending.push_back(self.handshakes.spawn(handshake));
    }

    /// Gives up the oldest handshake if there are too many. To let new ones wait instead would let a few
    /// clients that say nothing keep everybody out.
    fn make_room(&mut self) {
        while self.pending.front().is_some_and(AbortHandle::is_finished) {
            self.pending.pop_front();
        }
        if self.pending.len() < self.limits.pending {
            return;
        }
        self.pending.retain(|handshake| !handshake.is_finished());
        if self.pending.len() >= self.limits.pending
            && let Some(oldest) = self.pending.pop_front()
        {
            oldest.abort();
            metrics::handshake_ended(Handshake::GivenUp);
        }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Peer = SocketAddr;

    async fn accept(&mut self) -> io::Result<(Self::Io, SocketAddr)> {
        loop {
            tokio::select! {
                // Who has proved that it means it goes first.
                biased;
                Some(ended) = self.handshakes.join_next() => {
                    if let Ok(Some(accepted)) = ended {
                        return Ok(accepted);
                    }
                }
                accepted = Listener::accept(&mut self.tcp) => {
                    let (stream, peer) = accepted?;
                    self.begin(stream, peer);
                }
            }
        }
    }
}

/// The time is that for a request's head, and the number is what costs some megabytes.
const LIMITS: Limits = Limits {
    pending: 256,
    time: Duration::from_secs(10),
};
