//! The tasks that HTTP/2 makes for its streams, beside the one of the connection: [`Streams`] knows when
//! the last of them is gone.

use std::future::Future;

use hyper::rt::Executor;
use tokio::sync::mpsc;

/// Spawns the tasks of HTTP/2 streams.
#[derive(Clone, Debug)]
pub(super) struct StreamExecutor {
    /// Held by each task while it lasts; nothing is ever sent.
    alive: mpsc::Sender<()>,
}

/// The tasks that the clones of an executor have spawned.
#[derive(Debug)]
pub(super) struct Streams(mpsc::Receiver<()>);

impl Streams {
    pub(super) fn new() -> (StreamExecutor, Self) {
        let (alive, ended) = mpsc::channel(1);
        (StreamExecutor { alive }, Self(ended))
    }

    /// Waits until every executor and every task of theirs is gone. A task ends with its connection.
    pub(super) async fn ended(mut self) {
        // Nothing is sent, so this is the end of the last sender.
        let _ = self.0.recv().await;
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let alive = self.alive.clone();
        tokio::spawn(async move {
            stream.await;
            drop(alive);
        });
    }
}
