//! Two ways to send a request to one application: into the service, or byte by byte through a socket.

use std::{borrow::Borrow, net::SocketAddr, time::Duration};

use axum::{Router, body::Body};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower::ServiceExt as _;

/// What came back, as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Sorted, without `Date`.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first header of that name, as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.map(|(_, value)| std::str::from_utf8(value).unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Everything that a client gets to see, in one piece.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let headers = self
            .headers
            .iter()
            .flat_map(|(name, value)| [name.as_bytes(), b": ", value, b"\r\n"].concat());
        headers.chain(self.body.iter().copied()).collect()
    }

    /// No answer: the stream was reset, or the connection closed.
    pub(crate) fn none() -> Self {
        Self::of_status(0)
    }

    /// An answer of which nothing but the status is known.
    pub(crate) fn of_status(status: u16) -> Self {
        Self::new(status, Vec::new(), Vec::new())
    }

    /// The answer without the fields that say how its body is framed, which depend on the version of HTTP.
    pub(crate) fn without_framing(mut self) -> Self {
        const FRAMING: [&str; 3] = ["connection", "content-length", "transfer-encoding"];
        self.headers
            .retain(|(name, _)| !FRAMING.contains(&name.as_str()));
        self
    }

    fn new(status: u16, headers: Vec<(String, Vec<u8>)>, body: Vec<u8>) -> Self {
        let mut headers = headers;
        headers.retain(|(name, _)| name != "date");
        headers.sort();
        Self {
            status,
            headers,
            body,
        }
    }
}

/// Sends a request into the application, without a socket.
pub(crate) async fn oneshot(app: &impl Borrow<Router>, request: Request<Body>) -> Answer {
    collect(app.borrow().clone().oneshot(request).await.unwrap()).await
}

pub(crate) async fn collect(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect();
    // hyper sends what warp says to a HEAD over HTTP/2 too, and the client resets the stream for it.
    let body = body.collect().await;
    let body = body.map_or(Vec::new(), |body| body.to_bytes().to_vec());
    Answer::new(parts.status.as_u16(), headers, body)
}

/// Writes `bytes` to the application's socket and returns every answer that comes before it closes.
///
/// The bytes ask for the connection to be closed.
pub(crate) async fn wire(app: &impl Borrow<Router>, bytes: &[u8]) -> Vec<Answer> {
    exchange(serve(app.borrow().clone()).await, bytes).await
}

/// Writes `bytes` to a new connection and returns every answer that comes before it closes.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<Answer> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut received = Vec::new();
    timeout(Duration::from_secs(10), stream.read_to_end(&mut received))
        .await
        .expect("the server closes the connection")
        .ok();
    parse(&received)
}

/// Serves the application on a port of its own.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn parse(mut received: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(end) = find(received, b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .collect();
        let length = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .map_or(0, |(_, value)| {
                std::str::from_utf8(value).unwrap().parse().unwrap()
            });
        let body = &received[end + 4..];
        let (body, rest) = body.split_at(body.len().min(length));
        answers.push(Answer::new(status.parse().unwrap(), headers, body.to_vec()));
        received = rest;
    }
    answers
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
