//! What SQLite can fail with, sorted by what an operator can do about it.

use std::{error, fmt};

use rusqlite::ErrorCode;

/// A failure of the database.
#[derive(Debug)]
pub struct DatabaseError {
    kind: Kind,
    source: Option<rusqlite::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Busy,
    Damaged,
    Full,
    Other,
    Stopped,
}

impl DatabaseError {
    /// The thread of the connection has ended.
    pub(super) fn stopped() -> Self {
        Self {
            kind: Kind::Stopped,
            source: None,
        }
    }
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Kind::Damaged,
            Some(
                ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure,
            ) => Kind::Full,
            _ => Kind::Other,
        };
        Self {
            kind,
            source: Some(error),
        }
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Busy => "the database is locked by another program: end it, then try again",
            Kind::Damaged => {
                "the database is damaged or not a database: restore it from a backup; nothing was changed"
            }
            Kind::Full => {
                "the database cannot be read or written: look for a full disk and for permissions; nothing was changed"
            }
            Kind::Other => "the database failed",
            Kind::Stopped => "the database connection has stopped: look into the log and restart",
        })
    }
}

impl error::Error for DatabaseError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
