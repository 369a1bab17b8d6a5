//! The client against servers that answer by a script.

use std::{fs, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Answers one connection with `answer`; returns what was asked.
async fn server(answer: impl Into<Vec<u8>>) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = answer.into();
    let asked = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer_once(stream, &answer).await
    });
    (port, asked)
}

async fn answer_once(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) -> String {
    let mut asked = Vec::new();
    while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut asked).await.unwrap() == 0 {
            break;
        }
    }
    // Who has read enough may be gone.
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
    String::from_utf8(asked).unwrap()
}

fn address(port: u16) -> ServerAddress {
    let url = format!("http://127.0.0.1:{port}/");
    ServerAddress::of_url(&url).unwrap().0
}

fn client() -> HttpClient {
    HttpClient::new(&Trust::System).unwrap()
}

fn with_token() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, "Bearer secret".parse().unwrap());
    headers
}

#[tokio::test]
async fn asks_once_and_hands_over_the_answer() {
    let (port, asked) =
        server("HTTP/1.1 201 Created\r\nx-a: b\r\ncontent-length: 2\r\n\r\nok").await;
    let body = Bytes::from_static(b"a=1");
    let target = "/mcp/abc/token?as=headers";
    let answer = client()
        .post(&address(port), target, with_token(), body)
        .await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.headers["x-a"], "b");
    assert_eq!(**answer.body, *b"ok");
    let asked = asked.await.unwrap();
    assert!(
        asked.starts_with("POST /mcp/abc/token?as=headers HTTP/1.1\r\n"),
        "{asked}"
    );
    for line in [
        format!("host: 127.0.0.1:{port}\r\n"),
        "authorization: Bearer secret\r\n".to_owned(),
        "content-length: 3\r\n".to_owned(),
    ] {
        assert!(asked.contains(&line), "{line} in {asked}");
    }
}

/// The other server would count a connection.
#[tokio::test]
async fn no_redirect_is_followed() {
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary",
        "308 Permanent",
    ] {
        let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = elsewhere.local_addr().unwrap();
        let redirect =
            format!("HTTP/1.1 {status}\r\nlocation: http://{target}/\r\ncontent-length: 0\r\n\r\n");
        let (port, _asked) = server(redirect).await;
        let answer = client()
            .get(&address(port), "/", with_token())
            .await
            .unwrap();
        assert!(answer.status.is_redirection(), "{status}");
        let visit = timeout(Duration::from_millis(50), elsewhere.accept()).await;
        assert!(visit.is_err(), "{status} was followed");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_an_error_that_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap().port();
    drop(listener);
    let kind = async |port| {
        let answer = client().get(&address(port), "/", with_token()).await;
        let error = answer.expect_err("an error");
        assert!(!format!("{error:?} {error} {:#}", error.source).contains("secret"));
        error.kind()
    };
    assert_eq!(kind(nobody).await, ClientErrorKind::Unreachable);
    let (port, _) = server("SSH-2.0-something\r\n").await;
    assert_eq!(kind(port).await, ClientErrorKind::NotHttp);
    let (port, _) = server("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
    assert_eq!(kind(port).await, ClientErrorKind::NotHttp);
    let large = "x".repeat(LARGEST_BODY + 1);
    let (port, _) = server(format!("HTTP/1.1 200 OK\r\n\r\n{large}")).await;
    assert_eq!(kind(port).await, ClientErrorKind::TooLarge);
}

/// A server that takes the request and says nothing.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = client().get(&address(port), "/", with_token()).await;
    assert_eq!(answer.err().unwrap().kind(), ClientErrorKind::TimedOut);
    drop(listener);
}

#[tokio::test]
async fn a_server_is_who_an_authority_that_is_trusted_says() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        Trust::File(path)
    };
    let trusted = file("ca.pem", issued.cert.pem());
    let stranger = file("other.pem", other.cert.pem());
    let ask = async |trust: &Trust, host: &str| {
        let key = PrivateKeyDer::from_pem_slice(issued.signing_key.serialize_pem().as_bytes());
        let chain = vec![CertificateDer::from_pem_slice(issued.cert.pem().as_bytes()).unwrap()];
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key.unwrap())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await {
                answer_once(stream, b"HTTP/1.1 204 No Content\r\n\r\n").await;
            }
        });
        let url = format!("https://{host}:{port}/");
        let (address, path) = ServerAddress::of_url(&url).unwrap();
        let client = HttpClient::new(trust).unwrap();
        let answer = client.get(&address, &path, with_token()).await;
        answer
            .map(|answer| answer.status)
            .map_err(|error| error.kind())
    };
    assert_eq!(ask(&trusted, "localhost").await, Ok(StatusCode::NO_CONTENT));
    assert_eq!(ask(&trusted, "127.0.0.1").await, Err(ClientErrorKind::Tls));
    assert_eq!(ask(&stranger, "localhost").await, Err(ClientErrorKind::Tls));
    assert_eq!(
        ask(&Trust::System, "localhost").await,
        Err(ClientErrorKind::Tls)
    );
    assert!(HttpClient::new(&file("empty.pem", String::new())).is_err());
    assert!(HttpClient::new(&Trust::File(folder.path().join("none.pem"))).is_err());
}
