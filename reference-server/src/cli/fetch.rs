//! A request to a server that somebody named: small, bounded, without redirects and proxies.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{
    HeaderValue, Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// What is sent.
pub(super) struct Post<'a> {
    /// Of http or https.
    pub(super) url: &'a str,
    pub(super) bearer: Option<&'a SecretString>,
    pub(super) headers: &'a [(&'static str, &'static str)],
    /// JSON.
    pub(super) body: String,
    /// For all of it.
    pub(super) time: Duration,
}

/// Sends it, and returns the status and at most 64 KiB of the body.
pub(super) async fn post(post: Post<'_>) -> anyhow::Result<(StatusCode, Bytes)> {
    let time = post.time;
    match timeout(time, try_post(post)).await {
        Ok(answered) => answered,
        Err(_) => bail!("no answer within {} s", time.as_secs()),
    }
}

async fn try_post(post: Post<'_>) -> anyhow::Result<(StatusCode, Bytes)> {
    let uri: Uri = post.url.parse().context("no URL")?;
    let host = uri.host().context("a URL without a host")?;
    let is_https = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    let name = host.trim_start_matches('[').trim_end_matches(']');
    // Not every resolver knows that these are this machine (RFC 6761 §6.3).
    let is_local = name.to_ascii_lowercase().ends_with(".localhost");
    let reached = if is_local { "localhost" } else { name };
    let stream = TcpStream::connect((reached, port)).await?;
    let request = request(&post, &uri)?;
    if !is_https {
        return exchange(stream, request).await;
    }
    let name = ServerName::try_from(name.to_owned()).context("no host name")?;
    let stream = TlsConnector::from(Arc::new(tls()?))
        .connect(name, stream)
        .await?;
    exchange(stream, request).await
}

fn request(post: &Post<'_>, uri: &Uri) -> anyhow::Result<Request<Full<Bytes>>> {
    let authority = uri.authority().context("a URL without a host")?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path)
        .header(HOST, authority.as_str())
        .header(USER_AGENT, concat!("wst/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json, text/event-stream")
        .header(CONTENT_TYPE, "application/json");
    for (name, value) in post.headers {
        request = request.header(*name, *value);
    }
    if let Some(token) = post.bearer {
        let bearer = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
        let mut bearer = HeaderValue::from_str(&bearer).context("the token cannot be sent")?;
        bearer.set_sensitive(true);
        request = request.header(AUTHORIZATION, bearer);
    }
    Ok(request.body(Full::from(post.body.clone()))?)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end shows in the call that it is for.
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
    // Whatever is longer is no answer that anybody here understands.
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    Ok((status, body))
}

/// Trusts whom the system trusts, or whom `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
fn tls() -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        bail!(
            "this system trusts no certificate: install its ca-certificates, or name a file in SSL_CERT_FILE"
        );
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

const MAX_BODY: usize = 64 * 1024;
