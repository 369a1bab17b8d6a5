//! The change feed: what other processes have committed, within the lease.
//!
//! A thread asks `PRAGMA data_version` every few milliseconds, outside of any transaction, since the
//! number stands still within one. When it has moved, the rows with a higher change number are
//! reported. The moment that is then confirmed was read before all that.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::Connection;
use tower_workspace_token::{
    clock::Clock,
    store::{ChangeObserver, Observers},
};

use crate::{
    connection::{self, PATIENCE},
    file::DatabaseFile,
    queries::{self, Change},
    thread,
};

/// How long memory may be trusted after the feed was last confirmed.
pub const LEASE: Duration = Duration::from_millis(20);

/// A fifth of the lease: a tick may come late, or fail, a few times before memory is doubted.
const TICK: Duration = Duration::from_millis(4);

/// The thread of the feed, which runs while somebody watches; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Feed {
    file: Arc<DatabaseFile>,
    clock: Arc<dyn Clock>,
    observers: Arc<Observers>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    thread: JoinHandle<()>,
    /// Dropped to end the thread.
    _stop: mpsc::Sender<()>,
}

impl Feed {
    pub(crate) fn new(
        file: Arc<DatabaseFile>,
        clock: Arc<dyn Clock>,
        observers: Arc<Observers>,
    ) -> Self {
        Self {
            file,
            clock,
            observers,
            running: Mutex::new(None),
        }
    }

    /// Adds an observer, and starts the thread if it does not run.
    pub(crate) fn watch(&self, observer: ChangeObserver) {
        if self.observers.add(observer) && self.start().is_err() {
            // Nothing is ever confirmed then, so that every check reads through.
            self.observers.feed_ended();
        }
    }

    fn start(&self) -> std::io::Result<()> {
        let (stop, stopped) = mpsc::channel();
        let feed = FeedThread {
            file: Arc::clone(&self.file),
            clock: Arc::clone(&self.clock),
            observers: Arc::clone(&self.observers),
            position: None,
        };
        let thread = thread::start("wst-sqlite-feed", move || feed.run(&stopped))?;
        let running = Running {
            thread,
            _stop: stop,
        };
        let before = self.running().replace(running);
        // One that ended by itself, for want of observers.
        if let Some(Running { thread, _stop }) = before {
            drop(_stop);
            thread::join(thread);
        }
        Ok(())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let running = self.running().take();
        if let Some(Running { thread, _stop }) = running {
            drop(_stop);
            thread::join(thread);
        }
    }
}

struct FeedThread {
    file: Arc<DatabaseFile>,
    clock: Arc<dyn Clock>,
    observers: Arc<Observers>,
    position: Option<Position>,
}

/// How far the feed has read.
struct Position {
    connection: Connection,
    data_version: i64,
    change: i64,
}

/// What a look at the database has found.
enum News {
    Changes(Vec<Change>),
    /// What happened since the last look is not known.
    Unknown,
}

impl FeedThread {
    fn run(mut self, stopped: &mpsc::Receiver<()>) {
        while let Some(observers) = self.observers.for_feed() {
            self.tick(&observers);
            drop(observers);
            if stopped.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// Reports what is new and confirms the moment before the look; confirms nothing if it failed.
    fn tick(&mut self, observers: &[ChangeObserver]) {
        let as_of = self.clock.moment();
        let Ok(news) = self.look() else {
            self.position = None;
            return;
        };
        for observer in observers {
            match &news {
                News::Changes(changes) => changes.iter().for_each(|change| change.tell(observer)),
                News::Unknown => observer.resync(),
            }
            observer.confirmed(as_of);
        }
    }

    fn look(&mut self) -> rusqlite::Result<News> {
        if !self.file.is_in_place() {
            return Err(rusqlite::Error::InvalidPath(self.file.path().to_owned()));
        }
        match &mut self.position {
            Some(position) => position.look(),
            None => {
                self.position = Some(Position::begin(&self.file)?);
                Ok(News::Unknown)
            }
        }
    }
}

impl Position {
    fn begin(file: &DatabaseFile) -> rusqlite::Result<Self> {
        let connection = connection::open_for_reading(file.path(), PATIENCE)?;
        Ok(Self {
            data_version: data_version(&connection)?,
            change: queries::last_change(&connection)?,
            connection,
        })
    }

    fn look(&mut self) -> rusqlite::Result<News> {
        // Asked first: a commit after this is found by the next look, if this one misses it.
        let data_version = data_version(&self.connection)?;
        if data_version == self.data_version {
            return Ok(News::Changes(Vec::new()));
        }
        let news = self.read_on()?;
        self.data_version = data_version;
        Ok(news)
    }

    fn read_on(&mut self) -> rusqlite::Result<News> {
        let last = queries::last_change(&self.connection)?;
        if last < self.change {
            // Numbers only rise, so somebody has restored an older state.
            self.change = last;
            return Ok(News::Unknown);
        }
        let (changes, latest) = queries::changes_after(&self.connection, self.change)?;
        self.change = latest;
        Ok(News::Changes(changes))
    }
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))
}
