//! A small HTTP client for commands that ask a server from outside: one request, one answer, and no redirect is followed.
//!
//! A request may carry a token, so it goes where it was told to and nowhere else: what another address in an answer
//! would get of it is nothing (CVE-2026-64684). There is no cookie, no proxy and no second try.

mod address;
mod certificate;
mod trust;

use std::{fmt, io, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

pub(crate) use address::{InvalidAddress, ServerAddress};
pub(crate) use certificate::MOST_DAYS;
pub(crate) use trust::Trust;

/// How long it may take to reach a server.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a request may take from its beginning to the last byte of its answer.
const WHOLE: Duration = Duration::from_secs(30);

/// The most bytes of an answer's body.
const LARGEST_BODY: usize = 1024 * 1024;

/// Sends requests.
#[derive(Clone)]
pub(crate) struct HttpClient {
    tls: TlsConnector,
}

/// What a server has answered, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Wiped when dropped: it may hold a token.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer; says what to look at, and holds nothing of the request but its address.
#[derive(Debug)]
pub(crate) struct ClientError {
    kind: ClientErrorKind,
    source: anyhow::Error,
}

/// Sorts a [`ClientError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientErrorKind {
    /// The answer is none that HTTP knows, or broke off.
    NotHttp,
    /// The certificate is none that is trusted, or TLS failed otherwise.
    Tls,
    /// It took too long.
    TimedOut,
    /// The answer is larger than any that is expected.
    TooLarge,
    /// Nobody listens there, or the name is not known.
    Unreachable,
}

impl HttpClient {
    /// Makes a client that trusts the authorities of `trust`.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn new(trust: &Trust) -> anyhow::Result<Self> {
        Ok(Self {
            tls: trust.connector()?,
        })
    }

    /// Asks for `path_and_query` at `address`.
    pub(crate) async fn get(
        &self,
        address: &ServerAddress,
        path_and_query: &str,
        headers: HeaderMap,
    ) -> Result<Answer, ClientError> {
        self.send(Method::GET, address, path_and_query, headers, Bytes::new())
            .await
    }

    /// Posts `body` to `path_and_query` at `address`.
    pub(crate) async fn post(
        &self,
        address: &ServerAddress,
        path_and_query: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        self.send(Method::POST, address, path_and_query, headers, body)
            .await
    }

    async fn send(
        &self,
        method: Method,
        address: &ServerAddress,
        path_and_query: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let request = request(method, address, path_and_query, headers, body);
        let request = request.map_err(ClientError::of(ClientErrorKind::NotHttp))?;
        let exchange = async {
            let stream = connect(address).await?;
            match address.server_name() {
                None => exchange(stream, request).await,
                Some(name) => {
                    let name = name.map_err(ClientError::of(ClientErrorKind::Tls))?;
                    let stream = self.tls.connect(name, stream).await;
                    exchange(
                        stream.map_err(ClientError::of(ClientErrorKind::Tls))?,
                        request,
                    )
                    .await
                }
            }
        };
        let whole = timeout(WHOLE, exchange).await;
        whole.map_err(ClientError::of(ClientErrorKind::TimedOut))?
    }
}

impl ClientError {
    pub(crate) fn kind(&self) -> ClientErrorKind {
        self.kind
    }

    fn of<E: Into<anyhow::Error>>(kind: ClientErrorKind) -> impl FnOnce(E) -> Self {
        move |source| Self {
            kind,
            source: source.into(),
        }
    }
}

/// Returns the value of `Authorization` that presents `token`, marked so that it is not printed; `None` if it cannot be
/// sent.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    let text = Zeroizing::new(["Bearer ", token].concat());
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn request(
    method: Method,
    address: &ServerAddress,
    path_and_query: &str,
    headers: HeaderMap,
    body: Bytes,
) -> anyhow::Result<Request<Full<Bytes>>> {
    let length = body.len();
    let mut request = Request::builder()
        .method(method)
        .uri(path_and_query)
        .header(header::HOST, address.authority())
        .body(Full::new(body))
        .context("this address cannot be asked for")?;
    request.headers_mut().extend(headers);
    let agent = concat!("wst/", env!("CARGO_PKG_VERSION"));
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, agent.parse()?);
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CONNECTION, "close".parse()?);
    Ok(request)
}

async fn connect(address: &ServerAddress) -> Result<TcpStream, ClientError> {
    let connecting = async {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for socket in address.sockets().await? {
            match TcpStream::connect(socket).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    match timeout(CONNECT, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(ClientError::of(ClientErrorKind::Unreachable)(error)),
        Err(elapsed) => Err(ClientError::of(ClientErrorKind::TimedOut)(elapsed)),
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, ClientError> {
    let not_http = |error: hyper::Error| ClientError::of(ClientErrorKind::NotHttp)(error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(not_http)?;
    // Its end shows in the request that it was made for.
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(not_http)?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, LARGEST_BODY).collect().await;
    connection.abort();
    let body = body.map_err(|error| {
        let kind = match error.downcast_ref::<LengthLimitError>() {
            Some(_) => ClientErrorKind::TooLarge,
            None => ClientErrorKind::NotHttp,
        };
        ClientError::of(kind)(anyhow::anyhow!(error))
    })?;
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body: Zeroizing::new(body.to_bytes().to_vec()),
    })
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ClientErrorKind::NotHttp => "what answers there does not speak HTTP as expected",
            ClientErrorKind::Tls => "there is no trusted TLS connection",
            ClientErrorKind::TimedOut => "it took too long",
            ClientErrorKind::TooLarge => "the answer is larger than any that was expected",
            ClientErrorKind::Unreachable => "the server cannot be reached",
        })
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
