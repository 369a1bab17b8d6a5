//! `serve` over real sockets.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, reason = "these are tests, their helpers too")]

use std::{
    convert::Infallible,
    future::pending,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Extension,
    http::{Request, Response, StatusCode, Version},
    routing::get,
};
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_stream::StreamExt;
use tower_workspace_token::serve::{Listener, Peer, Serve, serve};

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(5);

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start(router: Router) -> Self {
        Self::start_with(router, |server| server).await
    }

    async fn start_with(
        router: Router,
        set_up: impl FnOnce(Serve<TcpListener, Router>) -> Serve<TcpListener, Router>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = set_up(serve(listener, router)).with_graceful_shutdown(async move {
            let _ = stopped.await;
        });
        Self {
            address,
            stop,
            running: tokio::spawn(server.into_future()),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Connects, sends `bytes` and leaves the connection open.
    async fn send(&self, bytes: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Stops the server and returns how long that took.
    async fn stop(self) -> Duration {
        let started = Instant::now();
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.running)
            .await
            .expect("the server stops")
            .unwrap()
            .unwrap();
        started.elapsed()
    }
}

fn get_request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

async fn read_to_end(stream: &mut TcpStream) -> io::Result<String> {
    let mut text = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut text))
        .await
        .expect("the connection ends")?;
    Ok(text)
}

/// Reads until `end` has come.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let byte = timeout(PATIENCE, stream.read_u8())
            .await
            .expect("more comes");
        text.push(byte.unwrap());
    }
    String::from_utf8(text).unwrap()
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

/// One frame, then silence.
fn open_stream() -> Router {
    let handler = || async {
        let first = tokio_stream::once(Ok::<_, Infallible>(Bytes::from_static(b"first")));
        Body::from_stream(first.chain(tokio_stream::pending()))
    };
    Router::new().route("/", get(handler))
}

/// Runs for `duration`, then answers.
fn slow(duration: Duration) -> Router {
    let handler = move || async move {
        tokio::time::sleep(duration).await;
        "late"
    };
    Router::new().route("/", get(handler))
}

/// Counts those who are inside.
#[derive(Clone, Default)]
struct Inside(Arc<AtomicUsize>);

struct Place(Arc<AtomicUsize>);

impl Inside {
    fn enter(&self) -> Place {
        self.0.fetch_add(1, Ordering::SeqCst);
        Place(Arc::clone(&self.0))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    async fn wait_for(&self, count: usize) {
        let reached = async {
            while self.count() != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, reached)
            .await
            .expect("as many are inside");
    }

    fn never_answers(&self) -> Router {
        let inside = self.clone();
        let handler = || async move {
            let _place = inside.enter();
            pending::<()>().await;
        };
        Router::new().route("/", get(handler))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn http2_client() -> Client<hyper_util::client::legacy::connect::HttpConnector, Empty<Bytes>> {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_only(true)
        .build_http()
}

async fn http2_get(server: &Server) -> Response<hyper::body::Incoming> {
    let request = Request::get(server.uri("/")).body(Empty::new()).unwrap();
    http2_client().request(request).await.unwrap()
}

#[tokio::test]
async fn serves_several_requests_on_one_connection() {
    let server = Server::start(hello()).await;
    let mut stream = server.connect().await;
    for _ in 0..2 {
        stream.write_all(get_request("/").as_bytes()).await.unwrap();
        let response = read_until(&mut stream, "hello").await;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    }
}

#[tokio::test]
async fn serves_http_2_on_the_same_port() {
    let server = Server::start(hello()).await;
    let response = http2_get(&server).await;
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
}

#[tokio::test]
async fn serves_a_service_that_is_not_a_router() {
    let service = tower::service_fn(|request: Request<hyper::body::Incoming>| async move {
        let body = request.into_body().collect().await?.to_bytes();
        Ok::<_, hyper::Error>(Response::new(http_body_util::Full::new(body)))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let _running = tokio::spawn(serve(listener, service).into_future());
    let request = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\necho";
    stream.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\necho").await;
}

#[tokio::test]
async fn tells_the_service_who_is_at_the_other_end() {
    let handler = |Extension(peer): Extension<Peer<SocketAddr>>| async move { peer.0.to_string() };
    let server = Server::start(Router::new().route("/", get(handler))).await;
    let mut stream = server.send(&get_request("/")).await;
    let own_address = stream.local_addr().unwrap().to_string();
    read_until(&mut stream, &own_address).await;
}

#[cfg(unix)]
#[tokio::test]
async fn serves_a_unix_socket_and_tells_whose_process_is_at_the_other_end() {
    use tokio::net::{UnixListener, UnixStream, unix::UCred};

    let path = std::env::temp_dir().join(format!("serve-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let mut stream = UnixStream::connect(&path).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let own_uid = stream.peer_cred().unwrap().uid();
    let handler =
        |Extension(peer): Extension<Peer<UCred>>| async move { format!("uid {}.", peer.0.uid()) };
    let router = Router::new().route("/", get(handler));
    let _running = tokio::spawn(serve(listener, router).into_future());
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.ends_with(&format!("uid {own_uid}.")), "{response}");
}

#[tokio::test]
async fn closes_a_connection_whose_head_does_not_come_in_time() {
    let header_timeout = Duration::from_millis(150);
    let server =
        Server::start_with(hello(), |server| server.with_header_timeout(header_timeout)).await;
    let begun_heads = [
        ("nothing at all", ""),
        ("part of a request line", "GET / HT"),
        ("part of a field", "GET / HTTP/1.1\r\nHost: local"),
        (
            "all but the empty line",
            "GET / HTTP/1.1\r\nHost: localhost\r\n",
        ),
        ("part of the preface of HTTP/2", "PRI * HTTP/2"),
        (
            "the preface of HTTP/2 alone",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ),
    ];
    for (name, head) in begun_heads {
        let started = Instant::now();
        let mut stream = server.send(head).await;
        let mut answer = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{name}: still open");
        assert!(started.elapsed() >= header_timeout, "{name}: closed early");
        assert!(started.elapsed() < PATIENCE / 2, "{name}: closed late");
    }
}

#[tokio::test]
async fn closes_a_connection_whose_second_head_does_not_come_in_time() {
    let server = Server::start_with(hello(), |server| {
        server.with_header_timeout(Duration::from_millis(150))
    })
    .await;
    let mut stream = server.send(&get_request("/")).await;
    read_until(&mut stream, "hello").await;
    stream.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await.unwrap(), "");
}

#[tokio::test]
async fn the_header_timeout_does_not_touch_running_calls_and_open_streams() {
    let header_timeout = Duration::from_millis(50);
    let router = slow(Duration::from_millis(300));
    let server =
        Server::start_with(router, |server| server.with_header_timeout(header_timeout)).await;
    let mut stream = server.send(&get_request("/")).await;
    read_until(&mut stream, "late").await;
}

#[tokio::test]
async fn refuses_a_head_above_64_kib() {
    let server = Server::start(hello()).await;
    let padding = "x".repeat(65 * 1024);
    let mut stream = server.connect().await;
    let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nPadding: {padding}\r\n\r\n");
    // The server may close before it has read all of it.
    let _ = stream.write_all(head.as_bytes()).await;
    let response = read_until(&mut stream, "\r\n").await;
    assert!(response.starts_with("HTTP/1.1 431"), "{response}");
}

#[tokio::test]
async fn goes_on_after_accepting_failed() {
    struct Exhausted(TcpListener, usize);

    impl Listener for Exhausted {
        type Io = TcpStream;
        type Peer = SocketAddr;

        async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
            const EMFILE: i32 = 24;
            if self.1 > 0 {
                self.1 -= 1;
                return Err(io::Error::from_raw_os_error(EMFILE));
            }
            Listener::accept(&mut self.0).await
        }
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let started = Instant::now();
    let _running = tokio::spawn(serve(Exhausted(listener, 2), hello()).into_future());
    stream.write_all(get_request("/").as_bytes()).await.unwrap();
    read_until(&mut stream, "hello").await;
    assert!(
        started.elapsed() >= Duration::from_millis(150),
        "it did not pause"
    );
}

#[tokio::test]
async fn a_panic_ends_its_connection_and_nothing_else() {
    async fn panics() -> StatusCode {
        panic!("on purpose")
    }
    let server = Server::start(hello().route("/panic", get(panics))).await;
    let mut broken = server.send(&get_request("/panic")).await;
    assert_eq!(read_to_end(&mut broken).await.unwrap_or_default(), "");
    let mut whole = server.send(&get_request("/")).await;
    read_until(&mut whole, "hello").await;
}

#[tokio::test]
async fn a_stop_ends_an_open_stream_with_the_last_chunk() {
    let server = Server::start(open_stream()).await;
    let mut stream = server.send(&get_request("/")).await;
    read_until(&mut stream, "5\r\nfirst\r\n").await;
    let took = server.stop().await;
    assert_eq!(read_to_end(&mut stream).await.unwrap(), "0\r\n\r\n");
    assert!(took < Duration::from_secs(1), "it took {took:?}");
}

#[tokio::test]
async fn a_stop_ends_an_open_stream_of_http_2_without_a_reset() {
    let server = Server::start(open_stream()).await;
    let mut body = http2_get(&server).await.into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "first"
    );
    let took = server.stop().await;
    let rest = body.collect().await.expect("no reset");
    assert_eq!(rest.to_bytes(), "");
    assert!(took < Duration::from_secs(1), "it took {took:?}");
}

#[tokio::test]
async fn a_stop_lets_a_running_call_be_answered() {
    let server = Server::start(slow(Duration::from_millis(200))).await;
    let mut stream = server.send(&get_request("/")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let took = server.stop().await;
    let response = read_to_end(&mut stream).await.unwrap();
    assert!(response.ends_with("\r\n\r\nlate"), "{response}");
    assert!(took >= Duration::from_millis(100), "it took {took:?}");
}

#[tokio::test]
async fn a_stop_lets_a_body_of_known_length_be_read_to_its_end() {
    const LENGTH: usize = 32 << 20;
    let router = Router::new().route("/", get(|| async { vec![b'x'; LENGTH] }));
    let server = Server::start(router).await;
    let mut stream = server.send(&get_request("/")).await;
    read_until(&mut stream, "\r\n\r\n").await;
    let reading = tokio::spawn(async move { read_to_end(&mut stream).await.unwrap().len() });
    server.stop().await;
    assert_eq!(reading.await.unwrap(), LENGTH);
}

#[tokio::test]
async fn a_stop_closes_unused_and_idle_connections_at_once_and_refuses_new_ones() {
    let server = Server::start(hello()).await;
    let address = server.address;
    let mut unused = server.connect().await;
    let mut begun = server.send("GET / HTTP/1.1\r\nHo").await;
    let mut idle = server.send(&get_request("/")).await;
    read_until(&mut idle, "hello").await;
    let took = server.stop().await;
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    // With bytes left unread the system may reset instead.
    for stream in [&mut unused, &mut begun, &mut idle] {
        assert_eq!(read_to_end(stream).await.unwrap_or_default(), "");
    }
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_request_that_is_on_its_way_at_the_stop_is_answered_within_the_idle_grace() {
    let grace = Duration::from_millis(500);
    let server = Server::start_with(hello(), |server| server.with_idle_grace(grace)).await;
    let address = server.address;
    let (mut unused, mut silent) = (server.connect().await, server.connect().await);
    let mut idle = server.send(&get_request("/")).await;
    read_until(&mut idle, "hello").await;
    let stopping = tokio::spawn(server.stop());
    // The listener is closed, so the stop has begun.
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for stream in [&mut unused, &mut idle] {
        stream.write_all(get_request("/").as_bytes()).await.unwrap();
        let answer = read_to_end(stream).await.unwrap();
        assert!(answer.ends_with("hello"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    assert_eq!(read_to_end(&mut silent).await.unwrap(), "");
    let took = stopping.await.unwrap();
    assert!(took >= grace && took < 2 * grace, "it took {took:?}");
}

#[tokio::test]
async fn the_idle_grace_is_no_matter_of_http_2() {
    let grace = Duration::from_secs(3);
    let server = Server::start_with(hello(), |server| server.with_idle_grace(grace)).await;
    let response = http2_get(&server).await;
    response.into_body().collect().await.unwrap();
    let took = server.stop().await;
    assert!(took < Duration::from_secs(1), "it took {took:?}");
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_hold_the_stop_beyond_the_grace() {
    let flood = || async {
        let chunk = Ok::<_, Infallible>(Bytes::from(vec![b'x'; 1 << 16]));
        Body::from_stream(tokio_stream::iter(std::iter::repeat(chunk)))
    };
    let router = Router::new()
        .route("/open-ended", get(flood))
        .route("/known", get(|| async { vec![b'x'; 64 << 20] }));
    for path in ["/open-ended", "/known"] {
        let grace = Duration::from_millis(200);
        let server =
            Server::start_with(router.clone(), |server| server.with_shutdown_grace(grace)).await;
        let mut stream = server.send(&get_request(path)).await;
        read_until(&mut stream, "\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let took = server.stop().await;
        assert!(took >= grace, "{path}: it took {took:?}");
        assert!(took < Duration::from_secs(1), "{path}: it took {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_ended_after_the_grace_is_dropped() {
    let inside = Inside::default();
    let grace = Duration::from_millis(100);
    let server = Server::start_with(inside.never_answers(), |server| {
        server.with_shutdown_grace(grace)
    })
    .await;
    let _http1 = server.send(&get_request("/")).await;
    let request = Request::get(server.uri("/")).body(Empty::new()).unwrap();
    let client = http2_client();
    let http2 = tokio::spawn(async move { client.request(request).await });
    inside.wait_for(2).await;
    server.stop().await;
    assert_eq!(inside.count(), 0);
    assert!(http2.await.unwrap().is_err());
}

#[tokio::test]
async fn a_server_that_is_dropped_drops_its_connections() {
    let inside = Inside::default();
    let server = Server::start(inside.never_answers()).await;
    let _stream = server.send(&get_request("/")).await;
    inside.wait_for(1).await;
    server.running.abort();
    inside.wait_for(0).await;
}
