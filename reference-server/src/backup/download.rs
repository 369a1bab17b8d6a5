//! Backups that somebody downloads: written beside the database, and without a name before the first byte
//! is sent, so that nothing stays behind, whoever hangs up.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use bytes::Bytes;
use rusqlite::Connection;
use rustix::fs::statvfs;

use super::{
    file::Part,
    write::{self, Written},
};
use crate::{
    error::{AppError, ErrorCode},
    key_check::KeyName,
    progress::Job,
    time,
};

/// Where they are written, one at a time.
#[derive(Debug)]
pub(crate) struct Downloads {
    path: PathBuf,
    holder: Arc<Mutex<Option<Holder>>>,
}

/// Who is downloading, and since when.
#[derive(Debug)]
struct Holder {
    name: String,
    since: i64,
}

/// Keeps others from downloading until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Mutex<Option<Holder>>>);

/// A backup that waits to be sent. The disk has room again when it is dropped.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) written: Written,
    file: File,
    _turn: Turn,
}

impl Downloads {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            holder: Arc::default(),
        }
    }

    /// Takes away what a crash left behind, or a download that was broken off.
    ///
    /// # Errors
    /// It is still there.
    pub(crate) fn clear(&self) -> anyhow::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| {
                    format!(
                        "{} is a part of a backup and cannot be removed: remove it",
                        self.path.display()
                    )
                })
            }
            _ => Ok(()),
        }
    }

    /// Lets `name` download.
    ///
    /// # Errors
    /// Somebody is downloading; it says who.
    pub(crate) fn turn(&self, name: &str) -> Result<Turn, AppError> {
        let mut holder = lock(&self.holder);
        if let Some(Holder { name, since }) = &*holder {
            let since = time::rfc3339(since / 1000 * 1000);
            return Err(AppError::new(
                ErrorCode::Conflict,
                format!(
                    "a backup is being downloaded by {name} since {since}: try again when that has ended"
                ),
            ));
        }
        *holder = Some(Holder {
            name: name.to_owned(),
            since: time::now(),
        });
        drop(holder);
        Ok(Turn(self.holder.clone()))
    }

    /// Copies the database of `source`, as it is at one moment. Blocks for as long as it takes.
    ///
    /// # Errors
    /// There is no room for it, it could not be written, or the server stops. What is left behind is said.
    pub(crate) fn write(
        &self,
        source: &Connection,
        needed: &[KeyName],
        turn: Turn,
        job: &Job,
    ) -> Result<Download, AppError> {
        // Until the part is gone, or has no name.
        let _at_work = job.at_work()?;
        self.clear()?;
        let size = write::size(source).map_err(anyhow::Error::from)?;
        if self.room().is_some_and(|room| room < size + RESERVE) {
            return Err(no_room());
        }
        let fill = || {
            let mut part = Part::create(self.path.clone())?;
            let written = write::fill(&mut part, source, needed, job)?;
            anyhow::Ok((written, part.unname()?))
        };
        let (written, file) = fill().map_err(|error| match (job.check_stop(), self.clear()) {
            (_, Err(left)) => error.context(left).into(),
            (Err(stopping), Ok(())) => stopping,
            (Ok(()), Ok(())) => explain(error),
        })?;
        Ok(Download {
            written,
            file,
            _turn: turn,
        })
    }

    /// Returns how much the disk still takes, if it says so.
    fn room(&self) -> Option<u64> {
        let disk = statvfs(self.path.parent()?).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

impl Download {
    /// Reads the next part, which is empty at the end. Blocks.
    pub(crate) fn read(&mut self) -> io::Result<Bytes> {
        let mut part = vec![0; PART];
        let length = self.file.read(&mut part)?;
        part.truncate(length);
        Ok(part.into())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *lock(&self.0) = None;
    }
}

fn lock(holder: &Mutex<Option<Holder>>) -> MutexGuard<'_, Option<Holder>> {
    holder.lock().unwrap_or_else(PoisonError::into_inner)
}

fn explain(error: anyhow::Error) -> AppError {
    if write::is_full(&error) {
        return no_room();
    }
    let what = "the backup could not be written to the data directory; nothing was left behind";
    error.context(what).into()
}

fn no_room() -> AppError {
    AppError::new(
        ErrorCode::Unavailable,
        "there is no room for the backup on the disk of the data directory: make room there, or write it to another disk with `wst backup FILE` on the server's machine; nothing was left behind",
    )
}

/// How much is in memory of a backup that is being sent, a few times over.
pub(crate) const PART: usize = 64 * 1024;

/// What the disk keeps for the database, which grows meanwhile.
const RESERVE: u64 = 16 * 1024 * 1024;
