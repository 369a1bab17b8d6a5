//! The thread for reads that may take longer, or may have to wait for a lock.

use std::{fmt, io, sync::mpsc, thread::JoinHandle};

use rusqlite::Connection;
use tokio::sync::oneshot;
use tower_workspace_token::store::{StoreError, StoreErrorKind};

use crate::{error::before_commit, thread};

/// The way to the thread that reads; it ends when this is dropped.
pub(crate) struct Lookups {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce(&Connection) + Send>;

impl Lookups {
    pub(crate) fn start(connection: Connection) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let thread = thread::start("wst-sqlite-lookups", move || {
            for job in waiting {
                job(&connection);
            }
        })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Runs `look` on the thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Whoever dropped the future does not want to know.
            if !answer.is_closed() {
                let _unheard = answer.send(look(connection));
            }
        });
        if let Some(jobs) = &self.jobs {
            // If the thread has ended, the job is dropped, and its answer with it.
            let _ended = jobs.send(job);
        }
        answered
            .await
            .map_err(|lost| StoreError::with_source(StoreErrorKind::Unavailable, lost))?
            .map_err(before_commit)
    }
}

impl Drop for Lookups {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            thread::join(thread);
        }
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}
