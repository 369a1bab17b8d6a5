//! What can go wrong with a database file, and what that means for a caller.
//!
//! SQLite's codes are sorted here and nowhere else. No error text holds a bound value.

use std::{error, fmt, io};

use rusqlite::ErrorCode;
use tower_workspace_token::store::{StoreError, StoreErrorKind};

/// A database that could not be opened; see [`kind`](Self::kind) for what to do about it.
#[derive(Debug)]
pub struct OpenError {
    kind: OpenErrorKind,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

/// Sorts an [`OpenError`]. Whichever it is, the file was left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// The database is damaged: restore a backup.
    Corrupt,
    /// The database belongs to another application: name another file.
    Foreign,
    /// There is no room on the disk.
    Full,
    /// The database was written by a newer version of this crate: upgrade.
    Newer,
    /// The file is not an SQLite database: name another file.
    NotADatabase,
    /// The file or its directory can't be written by this user.
    ReadOnly,
    /// The file can't be reached, or another process keeps it locked: see [`source`](error::Error::source).
    Unavailable,
}

impl OpenError {
    pub(crate) fn new(kind: OpenErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(crate) fn with_source(
        kind: OpenErrorKind,
        source: impl Into<Box<dyn error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// Returns what sort of error this is.
    pub fn kind(&self) -> OpenErrorKind {
        self.kind
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            OpenErrorKind::Corrupt => "the database is damaged: restore a backup",
            OpenErrorKind::Foreign => "the database belongs to another application",
            OpenErrorKind::Full => "there is no room for the database",
            OpenErrorKind::Newer => "the database was written by a newer version: upgrade",
            OpenErrorKind::NotADatabase => "the file is not an SQLite database",
            OpenErrorKind::ReadOnly => "the database file or its directory can't be written",
            OpenErrorKind::Unavailable => "the database file can't be reached",
        })
    }
}

impl error::Error for OpenError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt) => OpenErrorKind::Corrupt,
            Some(ErrorCode::DiskFull) => OpenErrorKind::Full,
            Some(ErrorCode::NotADatabase) => OpenErrorKind::NotADatabase,
            Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => OpenErrorKind::ReadOnly,
            _ => OpenErrorKind::Unavailable,
        };
        Self::with_source(kind, error)
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                OpenErrorKind::ReadOnly
            }
            io::ErrorKind::QuotaExceeded | io::ErrorKind::StorageFull => OpenErrorKind::Full,
            _ => OpenErrorKind::Unavailable,
        };
        Self::with_source(kind, error)
    }
}

/// Sorts an error of a read, or of a write before its commit: nothing was written.
pub(crate) fn before_commit(error: rusqlite::Error) -> StoreError {
    let kind = match &error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..) => StoreErrorKind::Corrupt,
        error => match error.sqlite_error_code() {
            // A constraint or a table that is missing: the file is not what this crate made of it.
            Some(
                ErrorCode::ConstraintViolation
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::Unknown,
            ) => StoreErrorKind::Corrupt,
            Some(ErrorCode::DiskFull | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                StoreErrorKind::Full
            }
            _ => StoreErrorKind::Unavailable,
        },
    };
    StoreError::with_source(kind, error)
}

/// Sorts an error of the commit itself.
pub(crate) fn in_commit(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        // The frame that commits comes last, so a log that ran out of room does not hold it.
        Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull | ErrorCode::ReadOnly) => {
            before_commit(error)
        }
        // It may be that the frame was written and only its `fsync` failed.
        _ => StoreError::with_source(StoreErrorKind::Ambiguous, error),
    }
}

/// Returns whether another connection was in the way.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// The answer of a store whose file is no longer where it was opened.
pub(crate) fn file_is_gone() -> StoreError {
    StoreError::with_source(
        StoreErrorKind::Unavailable,
        "the database file was moved or replaced: open the store again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn sqlite(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn says_of_each_failure_whether_something_was_written() {
        use StoreErrorKind::{Ambiguous, Corrupt, Full, Unavailable};
        let cases = [
            ("busy", ffi::SQLITE_BUSY, Unavailable, Unavailable),
            ("corrupt", ffi::SQLITE_CORRUPT, Corrupt, Ambiguous),
            ("full", ffi::SQLITE_FULL, Full, Full),
            ("fsync", ffi::SQLITE_IOERR_FSYNC, Unavailable, Ambiguous),
            ("no table", ffi::SQLITE_ERROR, Corrupt, Ambiguous),
            ("read-only", ffi::SQLITE_READONLY, Full, Full),
            ("write", ffi::SQLITE_IOERR_WRITE, Unavailable, Ambiguous),
        ];
        for (name, code, before, during) in cases {
            assert_eq!(before_commit(sqlite(code)).kind(), before, "{name}");
            assert_eq!(in_commit(sqlite(code)).kind(), during, "{name}");
        }
    }
}
