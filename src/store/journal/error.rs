//! What can go wrong with a journal.

use std::{error, fmt, io, sync::Arc};

/// A journal that cannot be used, and is left as it is.
#[derive(Clone, Debug)]
pub struct JournalError {
    kind: JournalErrorKind,
    source: Option<Arc<io::Error>>,
}

/// Sorts a [`JournalError`] by what the operator can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalErrorKind {
    /// There is a file of that name already.
    AlreadyExists,
    /// A part of it was changed, or is gone: put a copy of it back.
    Damaged,
    /// It can't be read or written: see [`source`](error::Error::source).
    Io,
    /// Another process uses it.
    InUse,
    /// There is no such file: its volume may not be mounted.
    Missing,
    /// It is a file of another kind, or of a newer version.
    NotAJournal,
}

impl JournalError {
    pub(super) fn new(kind: JournalErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Returns what sort of error this is.
    pub fn kind(&self) -> JournalErrorKind {
        self.kind
    }
}

impl From<io::Error> for JournalError {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::AlreadyExists => JournalErrorKind::AlreadyExists,
            io::ErrorKind::NotFound => JournalErrorKind::Missing,
            _ => JournalErrorKind::Io,
        };
        Self {
            kind,
            source: Some(Arc::new(error)),
        }
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            JournalErrorKind::AlreadyExists => "there is a file of that name already",
            JournalErrorKind::Damaged => "a part of the journal was changed or is gone",
            JournalErrorKind::Io => "the journal cannot be read or written",
            JournalErrorKind::InUse => "another process uses the journal",
            JournalErrorKind::Missing => "there is no such file",
            JournalErrorKind::NotAJournal => "the file is no rollback journal of this version",
        })
    }
}

impl error::Error for JournalError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
