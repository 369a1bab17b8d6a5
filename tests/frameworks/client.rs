//! A client that speaks HTTP/1.1, HTTP/2 or gRPC, and reads answers to their last trailer.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::{net::TcpStream, time::timeout};

/// Longer than anything here takes, unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An empty message of gRPC: not compressed, of no length.
const EMPTY_MESSAGE: [u8; 5] = [0; 5];

/// What a stack is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Grpc,
    Http1,
    Http2,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) trailers: HeaderMap,
    /// There was nothing after the head.
    pub(crate) is_head_alone: bool,
}

/// An answer whose head has come.
pub(crate) struct Opened {
    wire: Wire,
    response: Response<Incoming>,
    is_head_alone: bool,
}

impl Wire {
    /// Makes a request for a page of a workspace.
    pub(crate) fn request(
        self,
        method: Method,
        workspace: &str,
        page: &str,
    ) -> Request<Full<Bytes>> {
        let request = Request::builder();
        let request = match self {
            Self::Grpc => request
                .method(Method::POST)
                .uri(format!("http://{workspace}.test/desk.Desk/{page}"))
                .header(header::CONTENT_TYPE, "application/grpc")
                .header(header::TE, "trailers"),
            Self::Http1 => request
                .method(method)
                .uri(format!("/w/{workspace}/{page}"))
                .header(header::HOST, "localhost"),
            Self::Http2 => request
                .method(method)
                .uri(format!("http://localhost/w/{workspace}/{page}")),
        };
        let body = match self {
            Self::Grpc => Bytes::from_static(&EMPTY_MESSAGE),
            Self::Http1 | Self::Http2 => Bytes::new(),
        };
        request.body(Full::new(body)).unwrap()
    }

    /// Sends a request on a connection of its own and waits for the head of the answer.
    pub(crate) async fn open(self, address: SocketAddr, request: Request<Full<Bytes>>) -> Opened {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let response = async {
            if self == Self::Http1 {
                let (mut sender, connection) = http1::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                sender.send_request(request).await
            } else {
                let executor = TokioExecutor::new();
                let (mut sender, connection) = http2::handshake(executor, stream).await.unwrap();
                tokio::spawn(connection);
                sender.send_request(request).await
            }
        };
        let response = timeout(PATIENCE, response)
            .await
            .expect("an answer in time");
        let response = response.expect("an answer");
        let is_head_alone = http_body::Body::is_end_stream(response.body());
        Opened {
            wire: self,
            response,
            is_head_alone,
        }
    }
}

impl Opened {
    /// Reads the next piece; an empty text at the end.
    pub(crate) async fn piece(&mut self) -> String {
        let frame = timeout(PATIENCE, self.response.frame()).await;
        let frame = frame.expect("a frame in time");
        let data = frame.map(|frame| frame.expect("no error").into_data());
        match data {
            Some(Ok(data)) => self.wire.text(&data),
            Some(Err(_)) | None => String::new(),
        }
    }

    /// Reads to the end, which is a clean one.
    pub(crate) async fn finish(self) -> Answer {
        let (head, body) = self.response.into_parts();
        let body = timeout(PATIENCE, body.collect()).await;
        let body = body.expect("an end in time").expect("a clean end");
        let trailers = body.trailers().cloned().unwrap_or_default();
        Answer {
            status: head.status,
            headers: head.headers,
            text: self.wire.text(&body.to_bytes()),
            trailers,
            is_head_alone: self.is_head_alone,
        }
    }
}

impl Wire {
    fn text(self, data: &[u8]) -> String {
        match self {
            Self::Grpc => messages(data),
            Self::Http1 | Self::Http2 => String::from_utf8(data.to_vec()).unwrap(),
        }
    }
}

/// Reads the messages of gRPC, each a text behind five bytes.
fn messages(mut data: &[u8]) -> String {
    let mut texts = String::new();
    while let Some((head, rest)) = data.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let (message, rest) = rest.split_at(length.try_into().unwrap());
        texts += &String::decode(message).unwrap();
        data = rest;
    }
    assert!(data.is_empty(), "half a message");
    texts
}
