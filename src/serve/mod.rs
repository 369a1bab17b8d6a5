//! Serves any tower service over TCP or a Unix socket, with the two things that open streams need: a
//! limit on how long a client may take for its request's head, and a stop that ends streams cleanly.
//!
//! `axum::serve` has neither, and `warp::serve` takes filters only, so it cannot serve a warp application
//! that has a layer around it. HTTP/1.1 and HTTP/2 (with prior knowledge, RFC 9113 §3.3) are told apart by
//! their first bytes; `TCP_NODELAY` is set on every connection.
//!
//! ```no_run
//! # async fn example<S, B>(app: S) -> std::io::Result<()>
//! # where
//! #     S: tower_service::Service<http::Request<hyper::body::Incoming>, Response = http::Response<B>>,
//! #     S: Clone + Send + 'static,
//! #     S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
//! #     S::Future: Send + 'static,
//! #     B: http_body::Body + Send + 'static,
//! #     B::Data: Send,
//! #     B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
//! # {
//! # let interrupted = std::future::pending();
//! // `app` may be an axum `Router`, `layer.layer(warp::service(filter))`, or any other service.
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! tower_workspace_token::serve::serve(listener, app)
//!     .with_graceful_shutdown(interrupted)
//!     .await
//! # }
//! ```
//!
//! Each request carries the other end of its connection as an extension, [`Peer`].
//!
//! # Limits
//!
//! | what | limit |
//! |---|---|
//! | a request's head, HTTP/1.1 | 64 KiB together, 100 fields (hyper's default); more is answered with 431 |
//! | a request's head, HTTP/2 | 16 KiB (hyper's default); more is answered with 431 |
//! | streams of one HTTP/2 connection | 200 (hyper's default) |
//! | time for a head, and between two requests of an HTTP/1.1 connection | [`with_header_timeout`](Serve::with_header_timeout), 10 s |
//! | time for the first request of any connection | the same |
//! | an HTTP/2 connection whose client has gone | found out by a ping after 20 s, closed after 20 s more |
//!
//! The number of connections is not limited: that is for the operating system (`ulimit -n`) to say. When it
//! is reached, accepting pauses for a tenth of a second and goes on.
//!
//! # Deployment caveat
//!
//! The body of a request may take as long as it likes; put a timeout layer around services that read bodies
//! from strangers. TLS is for a proxy in front, or for a [`Listener`] of your own.

mod connection;
mod listener;
mod shutdown;
mod streams;

use std::{
    error::Error,
    fmt,
    future::{Future, IntoFuture, Pending, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_service::Service;

use connection::Connections;
pub use connection::Peer;
pub use listener::Listener;
use shutdown::Shutdown;
use streams::Streams;

/// Serves `service` on `listener`: await what it returns.
///
/// See the [module docs](self) for an example and for the limits.
pub fn serve<L, S, B>(listener: L, service: S) -> Serve<L, S>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    Serve {
        listener,
        service,
        signal: std::future::pending(),
        header_timeout: DEFAULT_HEADER_TIMEOUT,
        shutdown_grace: DEFAULT_SHUTDOWN_GRACE,
        idle_grace: Duration::ZERO,
    }
}

/// A server that is set up and not yet started; await it. Made by [`serve`].
#[must_use = "a server does nothing unless awaited"]
pub struct Serve<L, S, F = Pending<()>> {
    listener: L,
    service: S,
    signal: F,
    header_timeout: Duration,
    shutdown_grace: Duration,
    idle_grace: Duration,
}

/// A server at work; see [`serve`].
///
/// Ends with `Ok` when it was told to stop and has stopped, and never otherwise: what goes wrong with a
/// connection ends that connection. When this is dropped, all connections are dropped with it.
#[must_use = "futures do nothing unless polled"]
pub struct ServeFuture(Pin<Box<dyn Future<Output = io::Result<()>> + Send>>);

impl<L, S, F> Serve<L, S, F> {
    /// Stops when `signal` completes.
    ///
    /// From then on no connection is accepted, and idle ones are closed, at once or after
    /// [`with_idle_grace`](Self::with_idle_grace). Response bodies of unknown length,
    /// as event streams are, end at once, and cleanly: with the last chunk of HTTP/1.1 or `END_STREAM`, not
    /// with a reset, and those of gRPC with the status `UNAVAILABLE`. Running calls and bodies of known length have
    /// [`with_shutdown_grace`](Self::with_shutdown_grace) to finish; what is left then is dropped.
    ///
    /// A download whose length is not known is cut off by this as well: give such bodies a length.
    pub fn with_graceful_shutdown<G>(self, signal: G) -> Serve<L, S, G>
    where
        G: Future<Output = ()> + Send + 'static,
    {
        Serve {
            listener: self.listener,
            service: self.service,
            signal,
            header_timeout: self.header_timeout,
            shutdown_grace: self.shutdown_grace,
            idle_grace: self.idle_grace,
        }
    }

    /// Closes connections that take longer than `timeout` to send the head of a request. Defaults to 10 s.
    ///
    /// It begins when the connection is accepted and when a response has ended, so it is also how long an
    /// HTTP/1.1 connection is kept open between two requests.
    pub fn with_header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// Gives running calls `grace` to finish after the stop. Defaults to 4 s, so that a process is gone
    /// within the 5 s that supervisors commonly allow.
    pub fn with_shutdown_grace(mut self, grace: Duration) -> Self {
        self.shutdown_grace = grace;
        self
    }

    /// Leaves idle connections open for `grace` after the stop, for requests that are on their way. Defaults to
    /// none; it is a part of [`with_shutdown_grace`](Self::with_shutdown_grace), not beside it.
    ///
    /// A proxy in front keeps connections, and may send a request in the very instant in which one is closed here. It
    /// cannot know whether the request was begun, so what must not be done twice becomes an error to its client. With a
    /// grace longer than the proxy keeps idle connections, none is closed here before the proxy has closed it: each
    /// answer since the stop asks for that (`Connection: close`), and new connections are refused, which is
    /// safe to repeat elsewhere. HTTP/2 needs none of it, since its GOAWAY says which requests were begun.
    pub fn with_idle_grace(mut self, grace: Duration) -> Self {
        self.idle_grace = grace;
        self
    }
}

impl<L, S, F, B> IntoFuture for Serve<L, S, F>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = io::Result<()>;
    type IntoFuture = ServeFuture;

    fn into_future(self) -> ServeFuture {
        ServeFuture(Box::pin(async move {
            self.run().await;
            Ok(())
        }))
    }
}

impl<L, S, F, B> Serve<L, S, F>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    async fn run(self) {
        let Self {
            mut listener,
            service,
            signal,
            header_timeout,
            shutdown_grace,
            idle_grace,
        } = self;
        let shutdown = Shutdown::default();
        let (executor, streams) = Streams::new();
        let connections = Connections::new(service, executor, shutdown.clone(), header_timeout)
            .with_idle_grace(idle_grace);
        let mut running = JoinSet::new();
        let mut signal = pin!(signal);
        while let Some((io, peer)) =
            accept_unless(signal.as_mut(), &mut listener, &mut running).await
        {
            running.spawn(connections.serve(io, peer));
        }
        // Who is connected already, and would be reset with a request under way.
        for _ in 0..LAST_LOOKS {
            while let Some((io, peer)) = accept_now(&mut listener).await {
                running.spawn(connections.serve(io, peer));
            }
            // Sockets are asked once more what is there.
            tokio::task::yield_now().await;
        }
        // Closed first: a client that comes now is refused and turns to another server.
        drop(listener);
        shutdown.begin();
        if timeout(shutdown_grace, finish(&mut running)).await.is_err() {
            running.shutdown().await;
        }
        drop(connections);
        streams.ended().await;
    }
}

/// Returns the next connection, or `None` once `signal` has completed. Meanwhile clears away connections
/// that have ended.
async fn accept_unless<L: Listener>(
    mut signal: Pin<&mut impl Future<Output = ()>>,
    listener: &mut L,
    running: &mut JoinSet<()>,
) -> Option<(L::Io, L::Peer)> {
    let mut accept = pin!(accept(listener));
    poll_fn(|cx| {
        if signal.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        while let Poll::Ready(Some(_)) = running.poll_join_next(cx) {}
        accept.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Returns a connection that need not be waited for.
async fn accept_now<L: Listener>(listener: &mut L) -> Option<(L::Io, L::Peer)> {
    let mut accept = pin!(accept(listener));
    poll_fn(|cx| {
        Poll::Ready(match accept.as_mut().poll(cx) {
            Poll::Ready(accepted) => Some(accepted),
            Poll::Pending => None,
        })
    })
    .await
}

async fn accept<L: Listener>(listener: &mut L) -> (L::Io, L::Peer) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_one_connection(&error) => {}
            Err(_error) => {
                #[cfg(feature = "tracing")]
                tracing::warn!(error = %_error, "no connection can be accepted for now");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Returns whether accepting failed because of the client, so that the next one may well succeed.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

/// Waits until every connection has ended, be it by a panic of its service.
async fn finish(running: &mut JoinSet<()>) {
    while running.join_next().await.is_some() {}
}

impl Future for ServeFuture {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<L: fmt::Debug, S, F> fmt::Debug for Serve<L, S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .field("header_timeout", &self.header_timeout)
            .field("shutdown_grace", &self.shutdown_grace)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ServeFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeFuture").finish_non_exhaustive()
    }
}

/// Enough for a slow phone to send a few kilobytes, and short enough that half-sent heads don't pile up.
const DEFAULT_HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// One second below what supervisors and the reference server's contract allow for the whole process.
const DEFAULT_SHUTDOWN_GRACE: Duration = Duration::from_secs(4);

/// A runtime looks at its sockets in between.
const LAST_LOOKS: usize = 3;

/// How long accepting pauses when the process has no file descriptor left: a loop without a pause
/// would take the processor from those who could free one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
