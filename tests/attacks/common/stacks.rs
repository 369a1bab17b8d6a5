//! The four stacks: axum and warp, each over HTTP/1.1 and HTTP/2, on sockets of this machine.
//!
//! A stack has one server and, for whole requests, one connection. The server serves one application
//! after another: the one that stands in its slot when a request arrives.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{ServiceExt as _, body::Body};
use http::{Request, Uri, Version, header::HOST, uri::Authority};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower::{ServiceExt as _, service_fn};
use tower_workspace_token::warp::serve;

use super::{
    app::App,
    frames,
    send::{Answer, collect, exchange},
};

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A framework and the version of HTTP that it is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stack {
    AxumHttp1,
    AxumHttp2,
    WarpHttp1,
    WarpHttp2,
}

impl Stack {
    pub(crate) const ALL: [Self; 4] = [
        Self::AxumHttp1,
        Self::AxumHttp2,
        Self::WarpHttp1,
        Self::WarpHttp2,
    ];

    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::AxumHttp2 | Self::WarpHttp2)
    }
}

/// A server of one stack, and a connection to it.
pub(crate) struct Server {
    stack: Stack,
    address: SocketAddr,
    slot: Slot,
    connection: Option<Connection>,
}

/// The application that is served now.
type Slot = Arc<Mutex<App>>;

enum Connection {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Server {
    /// Starts a server of that stack with nothing to serve.
    pub(crate) async fn start(stack: Stack, app: App) -> Self {
        let slot = Arc::new(Mutex::new(app));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::clone(&slot);
        match stack {
            Stack::AxumHttp1 | Stack::AxumHttp2 => {
                let service = service_fn(move |request: Request<Body>| {
                    let app = served.lock().unwrap().axum.clone();
                    app.oneshot(request)
                });
                let service = service.into_make_service();
                tokio::spawn(async move { axum::serve(listener, service).await });
            }
            Stack::WarpHttp1 | Stack::WarpHttp2 => {
                let service = service_fn(move |request: Request<Incoming>| {
                    let app = served.lock().unwrap().warp.clone();
                    app.oneshot(request)
                });
                let server = serve(listener, service);
                // However long a machine pauses: a connection that is closed between two requests is no answer.
                let server = server.with_header_timeout(30 * PATIENCE);
                tokio::spawn(server.into_future());
            }
        }
        Self {
            stack,
            address,
            slot,
            connection: None,
        }
    }

    /// Sends a request to `app`, its `Host` as the authority where the version has one.
    pub(crate) async fn send(&mut self, app: &App, request: Request<Body>) -> Answer {
        let request = if self.stack.is_http2() {
            with_authority(request)
        } else {
            request
        };
        self.send_as_is(app, request).await
    }

    /// Sends a request to `app` as it is.
    pub(crate) async fn send_as_is(&mut self, app: &App, request: Request<Body>) -> Answer {
        self.serve(app);
        let answer = async {
            let response = match self.connection().await {
                Connection::Http1(connection) => connection.send_request(request).await,
                Connection::Http2(connection) => connection.send_request(request).await,
            };
            match response {
                Ok(response) => collect(response.map(Body::new)).await,
                Err(_) => Answer::none(),
            }
        };
        timeout(PATIENCE, answer).await.expect("an answer in time")
    }

    /// Writes `bytes` to a connection of their own, and returns every answer that comes before it closes.
    ///
    /// The bytes ask for the connection to be closed.
    pub(crate) async fn exchange(&self, app: &App, bytes: &[u8]) -> Vec<Answer> {
        self.serve(app);
        exchange(self.address, bytes).await
    }

    /// Writes frames to a connection of their own and returns the status of the first answer, if there is one.
    pub(crate) async fn status(&self, app: &App, frames: &[u8]) -> Option<u16> {
        self.serve(app);
        frames::status(self.address, frames).await
    }

    fn serve(&self, app: &App) {
        *self.slot.lock().unwrap() = app.clone();
    }

    /// Returns the open connection; a new one, if the server has closed the last.
    async fn connection(&mut self) -> &mut Connection {
        let is_ready = match &mut self.connection {
            None => false,
            Some(Connection::Http1(connection)) => connection.ready().await.is_ok(),
            Some(Connection::Http2(connection)) => connection.ready().await.is_ok(),
        };
        if !is_ready {
            self.connection = Some(self.connect().await);
        }
        self.connection.as_mut().expect("it was just made")
    }

    async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let io = TokioIo::new(stream);
        if self.stack.is_http2() {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Connection::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Connection::Http1(sender)
        }
    }
}

/// Moves the one `Host` into the target, as clients of HTTP/2 do (RFC 9113 §8.3.1); what cannot stand there
/// stays in the header.
fn with_authority(mut request: Request<Body>) -> Request<Body> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let authority = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        _ => None,
    };
    let Some(authority) = authority.filter(|_| request.uri().authority().is_none()) else {
        return request;
    };
    let mut target = request.uri().clone().into_parts();
    target.scheme = Some(http::uri::Scheme::HTTP);
    target.authority = Some(authority);
    *request.uri_mut() = Uri::from_parts(target).unwrap();
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(HOST);
    request
}
