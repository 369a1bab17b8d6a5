//! A thread that owns a connection and runs jobs on it, one after the other.

use std::{
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use anyhow::Context as _;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::db::DatabaseError;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Sends jobs to the thread; the last clone waits for it to end.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    thread: Arc<Thread>,
}

/// The thread and its queue; both are there until this is dropped.
#[derive(Debug)]
struct Thread {
    jobs: Option<mpsc::Sender<Job>>,
    handle: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(name: &str, mut connection: Connection) -> anyhow::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let handle = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || queue.iter().for_each(|job| job(&mut connection)))
            .context("cannot start a thread")?;
        let thread = Thread {
            jobs: Some(jobs),
            handle: Some(handle),
        };
        Ok(Self {
            thread: Arc::new(thread),
        })
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (answer, outcome) = oneshot::channel();
        let job = move |connection: &mut Connection| {
            // Nobody waits any longer if this fails; the work was done all the same.
            let _ = answer.send(work(connection));
        };
        let jobs = self.thread.jobs.as_ref();
        jobs.and_then(|jobs| jobs.send(Box::new(job)).ok())
            .ok_or_else(DatabaseError::stopped)?;
        outcome.await.map_err(|_| DatabaseError::stopped())
    }
}

impl Drop for Thread {
    /// Waits until the connection is closed, so that SQLite can put its files in order: a process that
    /// ends before leaves the log to the next one.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(handle) = self.handle.take() {
            // A job that panicked has said so.
            let _ = handle.join();
        }
    }
}
