//! Connections for point reads on the calling thread.
//!
//! A connection is taken, used for a few microseconds and put back; the lock is held for the taking
//! alone. If none is idle another one is opened, so nobody ever waits: no more than threads read at once.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::Connection;

use crate::{connection, file::DatabaseFile};

/// The idle connections.
pub(crate) struct Readers {
    file: Arc<DatabaseFile>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(file: Arc<DatabaseFile>) -> Self {
        Self {
            file,
            idle: Mutex::default(),
        }
    }

    /// Runs `look` on a connection of its own.
    ///
    /// # Errors
    /// Busy, rather than to wait, in the rare moments in which a reader of a WAL database is kept
    /// out: recovery after a crash, and the last one to close it.
    pub(crate) fn read<T>(
        &self,
        look: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connection::open_for_reading(self.file.path(), Duration::ZERO)?,
        };
        let result = look(&connection);
        // A connection that failed is closed: the next read gets a new one.
        if result.is_ok() {
            self.put_back(connection);
        }
        result
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < MOST_IDLE {
            idle.push(connection);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers")
            .field("idle", &self.idle().len())
            .finish_non_exhaustive()
    }
}

/// A connection keeps up to 2 MB of pages.
const MOST_IDLE: usize = 16;
