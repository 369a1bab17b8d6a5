//! Counts what a node sends to its PostgreSQL, and what it gets: statements, round trips and bytes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What went through.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    statements: AtomicU64,
    round_trips: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// [`Counts`] of one moment, or between two.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) statements: u64,
    pub(crate) round_trips: u64,
    pub(crate) bytes: u64,
}

impl Counts {
    pub(crate) fn now(&self) -> Counted {
        Counted {
            statements: self.statements.load(Relaxed),
            round_trips: self.round_trips.load(Relaxed),
            bytes: self.sent.load(Relaxed) + self.received.load(Relaxed),
        }
    }
}

impl Counted {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            statements: self.statements - before.statements,
            round_trips: self.round_trips - before.round_trips,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// Opens a port that leads to `server`.
pub(crate) async fn open(server: (String, u16)) -> anyhow::Result<(u16, Arc<Counts>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let counts = Arc::new(Counts::default());
    let counting = Arc::clone(&counts);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(carry(client, server.clone(), Arc::clone(&counting)));
        }
    });
    Ok((port, counts))
}

async fn carry(
    client: TcpStream,
    server: (String, u16),
    counts: Arc<Counts>,
) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = Arc::clone(&counts);
    let down = tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            answers.received.fetch_add(length as u64, Relaxed);
            to_client.write_all(&buffer[..length]).await?;
        }
        to_client.shutdown().await
    });
    let (mut buffer, mut messages) = (vec![0; 64 * 1024], Messages::default());
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        counts.sent.fetch_add(length as u64, Relaxed);
        messages.read(&buffer[..length], &counts);
        to_server.write_all(&buffer[..length]).await?;
    }
    to_server.shutdown().await?;
    let _ended = down.await;
    Ok(())
}

/// Walks over the messages of a client (PostgreSQL, Message Formats): a kind, but for the first, and a length.
#[derive(Debug, Default)]
struct Messages {
    has_begun: bool,
    head: Vec<u8>,
    /// What is left of the present message.
    left: usize,
}

impl Messages {
    fn read(&mut self, mut bytes: &[u8], counts: &Counts) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            let kind = usize::from(self.has_begun);
            if self.head.len() == kind + 4 {
                let length = u32::from_be_bytes([0, 1, 2, 3].map(|place| self.head[kind + place]));
                self.left = (length as usize).saturating_sub(4);
                if self.has_begun {
                    self.count(counts);
                }
                self.has_begun = true;
                self.head.clear();
            }
        }
    }

    fn count(&self, counts: &Counts) {
        match self.head[0] {
            b'E' => drop(counts.statements.fetch_add(1, Relaxed)),
            b'S' => drop(counts.round_trips.fetch_add(1, Relaxed)),
            b'Q' => {
                counts.statements.fetch_add(1, Relaxed);
                counts.round_trips.fetch_add(1, Relaxed);
            }
            _ => {}
        }
    }
}
