//! How long a rotation takes that ends many open streams: the library alone, over hyper and real connections;
//! and, to compare, how long it takes without the library to end as many by a word that all of them wait for.
//!
//! Run with
//! ```text
//! cargo run --release --example severing --features axum -- 1000
//! ```
//! It prints figures and decides nothing. Each stream has a connection of its own; client and server
//! share this process and its threads, so that the time at the client is that of both, and each stream needs
//! two open files (`ulimit -n`).

use std::{
    convert::Infallible,
    error::Error,
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    task::JoinSet,
};
use tower_workspace_token::{
    Keys, MemoryStore, TokenAuthority, TokenName, WorkspaceId, WorkspaceTokenLayer,
    clock::{Clock as _, Moment, SystemClock},
    layer::FixedWorkspace,
};

/// A first piece, and then nothing for as long as anybody listens.
async fn silence() -> Body {
    let mut first = Some(Bytes::from_static(b"open\n"));
    Body::from_stream(poll_fn(move |_| match first.take() {
        Some(first) => Poll::Ready(Some(Ok::<_, Infallible>(first))),
        None => Poll::Pending,
    }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let counts: Result<Vec<usize>, _> = std::env::args()
        .skip(1)
        .map(|count| count.parse())
        .collect();
    let mut counts = counts?;
    if counts.is_empty() {
        counts.push(1000);
    }
    let workspace: WorkspaceId = "acme".parse()?;
    let authority = TokenAuthority::builder(MemoryStore::new(), Keys::generate()?).build()?;
    let mut token = authority.issue(&workspace, &TokenName::primary()).await?;
    let layer = WorkspaceTokenLayer::new(authority.clone(), FixedWorkspace(workspace));
    let app = Router::new().route("/", get(silence)).layer(layer);
    let app = app.route("/bare", get(until_word));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });

    for count in counts {
        let streams = streams(count, address, "/bare", "").await?;
        let asked = SystemClock.moment();
        WORD.notify_waiters();
        println!(
            "{count} streams without the library: {}",
            streams.ends(asked).await?
        );

        let streams = self::streams(count, address, "/", token.expose_secret()).await?;
        let asked = SystemClock.moment();
        let receipt = authority.rotate(&workspace, &TokenName::primary()).await?;
        println!(
            "{count} streams: {} ended after {:?} in the server; {}",
            receipt.ended.streams,
            receipt.ended.elapsed,
            streams.ends(asked).await?,
        );
        token = receipt.token;
    }
    Ok(())
}

/// A stream that is what a function makes of it.
struct PollFn<F>(F);

fn poll_fn<F>(poll: F) -> PollFn<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> + Unpin,
{
    PollFn(poll)
}

impl<F> tokio_stream::Stream for PollFn<F>
where
    F: FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> + Unpin,
{
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        (self.0)(cx)
    }
}

/// Ends the streams without the library.
static WORD: Notify = Notify::const_new();

/// A first piece, and the end when the word falls.
async fn until_word() -> Body {
    let mut word = Box::pin(WORD.notified());
    word.as_mut().enable();
    let mut first = Some(Bytes::from_static(b"open\n"));
    Body::from_stream(poll_fn(move |cx| match first.take() {
        Some(first) => Poll::Ready(Some(Ok::<_, Infallible>(first))),
        None => word.as_mut().poll(cx).map(|()| None),
    }))
}

/// Open streams, each read by a task of its own.
struct Streams(JoinSet<io::Result<Moment>>);

async fn streams(
    count: usize,
    address: SocketAddr,
    path: &str,
    token: &str,
) -> io::Result<Streams> {
    let mut opened = Vec::with_capacity(count);
    for _ in 0..count {
        opened.push(open(address, path, token).await?);
    }
    let streams = Streams(opened.into_iter().map(end).collect());
    // Until all of them wait.
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(streams)
}

impl Streams {
    /// Waits for all ends and says how long after `asked` they were seen.
    async fn ends(self, asked: Moment) -> io::Result<String> {
        let ends: io::Result<Vec<Moment>> = self.0.join_all().await.into_iter().collect();
        let mut ends = ends?;
        ends.sort_unstable();
        let after = |index: usize| ends[index].saturating_since(asked);
        let (most, last) = (after(ends.len() * 99 / 100), after(ends.len() - 1));
        Ok(format!(
            "99 of 100 at the client after {most:?}, the last after {last:?}"
        ))
    }
}

/// Opens a stream and reads its first piece.
async fn open(address: SocketAddr, path: &str, token: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut read = Vec::new();
    while !read.ends_with(b"open\n\r\n") {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(stream)
}

/// Reads on to the end of the stream, the last chunk, and returns when that was.
async fn end(mut stream: TcpStream) -> io::Result<Moment> {
    let mut read = Vec::new();
    while !read.ends_with(b"0\r\n\r\n") {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(SystemClock.moment())
}
