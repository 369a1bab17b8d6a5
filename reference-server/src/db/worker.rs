//! A thread that owns a connection and runs jobs on it, one after the other.

use std::{sync::mpsc, thread};

use anyhow::Context as _;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::DatabaseError;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Sends jobs to the thread, which ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    pub(super) fn start(name: &str, mut connection: Connection) -> anyhow::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || queue.iter().for_each(|job| job(&mut connection)))
            .context("cannot start a thread")?;
        Ok(Self { jobs })
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
        let gone = |_| DatabaseError::stopped();
        self.jobs
            .send(Box::new(job))
            .map_err(|_| DatabaseError::stopped())?;
        outcome.await.map_err(gone)
    }
}
