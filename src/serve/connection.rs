//! One connection, from its first byte to its last.

use std::{
    error::Error,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};
use tower_service::Service;

use super::{
    shutdown::{Shutdown, UntilShutdown},
    streams::StreamExecutor,
};

/// The other end of the connection that a request came over: an extension of every request.
///
/// `Peer<SocketAddr>` over TCP, where it may be a proxy's address, and `Peer<UCred>` over a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer<P>(pub P);

/// What all connections of a server have in common.
pub(super) struct Connections<S> {
    service: S,
    builder: Builder<StreamExecutor>,
    shutdown: Shutdown,
    header_timeout: Duration,
    idle_grace: Duration,
}

/// The service of one connection.
struct ConnectionService<S, P> {
    inner: S,
    connection: Arc<Connection<P>>,
}

struct Connection<P> {
    peer: Peer<P>,
    /// Whether a request has come.
    is_used: AtomicBool,
    /// Whether one has come by HTTP/2.
    is_http2: AtomicBool,
    shutdown: Shutdown,
}

pin_project! {
    struct ResponseFuture<F, P> {
        #[pin]
        inner: F,
        connection: Arc<Connection<P>>,
    }
}

impl<S, B> Connections<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    pub(super) fn new(
        service: S,
        executor: StreamExecutor,
        shutdown: Shutdown,
        header_timeout: Duration,
    ) -> Self {
        let mut builder = Builder::new(executor);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(header_timeout)
            .max_buf_size(MAX_HTTP1_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(HTTP2_PING);
        Self {
            service,
            builder,
            shutdown,
            header_timeout,
            idle_grace: Duration::ZERO,
        }
    }

    /// Leaves idle connections open for so long after the stop.
    pub(super) fn with_idle_grace(self, idle_grace: Duration) -> Self {
        Self { idle_grace, ..self }
    }

    /// Serves `io` until either side closes it, or until it brings no request in time.
    pub(super) fn serve<I, P>(&self, io: I, peer: P) -> impl Future<Output = ()> + use<I, P, S, B>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        P: Clone + Send + Sync + 'static,
    {
        let connection = Arc::new(Connection {
            peer: Peer(peer),
            is_used: AtomicBool::new(false),
            is_http2: AtomicBool::new(false),
            shutdown: self.shutdown.clone(),
        });
        let service = TowerToHyperService::new(ConnectionService {
            inner: self.service.clone(),
            connection: Arc::clone(&connection),
        });
        let http = self
            .builder
            .serve_connection_with_upgrades(TokioIo::new(io), service)
            .into_owned();
        let (header_timeout, idle_grace) = (self.header_timeout, self.idle_grace);
        async move {
            let mut http = pin!(http);
            let mut shutdown = pin!(connection.shutdown.clone().begun());
            let (mut has_begun, mut is_stopping) = (false, false);
            let stop = connection.shutdown.clone();
            let mut idle = pin!(async {
                stop.begun().await;
                sleep(idle_grace).await;
            });
            // hyper's own timeout begins when it knows the version, and HTTP/2 has none.
            let mut first_request = pin!(sleep(header_timeout));
            poll_fn(|cx| {
                if !has_begun && shutdown.as_mut().poll(cx).is_ready() {
                    has_begun = true;
                }
                // GOAWAY says which requests were begun, so nothing is on its way that gets no answer.
                let is_time = idle_grace.is_zero() || connection.is_http2();
                if has_begun && !is_stopping && (is_time || idle.as_mut().poll(cx).is_ready()) {
                    is_stopping = true;
                    if !connection.is_used() {
                        return Poll::Ready(());
                    }
                    http.as_mut().graceful_shutdown();
                }
                // What goes wrong with a connection is the client's affair, or was answered and logged inside.
                if http.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                if connection.is_used() {
                    return Poll::Pending;
                }
                first_request.as_mut().poll(cx)
            })
            .await;
        }
    }
}

impl<P> Connection<P> {
    fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }
}

impl<S, P, B> Service<Request<Incoming>> for ConnectionService<S, P>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    P: Clone + Send + Sync + 'static,
    B: Body,
{
    type Response = Response<UntilShutdown<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        self.connection.is_used.store(true, Ordering::Relaxed);
        if request.version() == Version::HTTP_2 {
            self.connection.is_http2.store(true, Ordering::Relaxed);
        }
        request
            .extensions_mut()
            .insert(self.connection.peer.clone());
        ResponseFuture {
            inner: self.inner.call(request),
            connection: Arc::clone(&self.connection),
        }
    }
}

impl<S: Clone, P> Clone for ConnectionService<S, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            connection: Arc::clone(&self.connection),
        }
    }
}

impl<F, P, B, E> Future for ResponseFuture<F, P>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<UntilShutdown<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let shutdown = &this.connection.shutdown;
        let response = ready!(this.inner.poll(cx));
        let is_http2 = this.connection.is_http2();
        Poll::Ready(response.map(|mut response| {
            // hyper says so of its own accord only once it was told to stop, which is later if idle connections have a grace.
            if shutdown.has_begun()
                && !is_http2
                && response.status() != StatusCode::SWITCHING_PROTOCOLS
            {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            UntilShutdown::guard(response, shutdown)
        }))
    }
}

/// More than any proxy in front passes on, and a sixth of hyper's default: what one connection may have
/// the server hold before a request is even there.
const MAX_HTTP1_HEAD: usize = 64 * 1024;

/// An open stream has nothing to send for hours, so a client that is gone is found by asking.
const HTTP2_PING: Duration = Duration::from_secs(20);
