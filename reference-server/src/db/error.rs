//! What the database can fail with, sorted by what an operator can do about it.

use std::{error, fmt};

use rusqlite::ErrorCode;
use tower_workspace_token_postgres::{
    deadpool_postgres::PoolError,
    tokio_postgres::{
        self,
        error::{DbError, SqlState},
    },
};

/// A failure of the database.
#[derive(Debug)]
pub struct DatabaseError {
    kind: Kind,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ambiguous,
    Busy,
    Damaged,
    Full,
    NoRow,
    NulInText,
    Other,
    Stopped,
    Unreachable,
}

impl DatabaseError {
    /// The thread of the connection has ended.
    pub(super) fn stopped() -> Self {
        Kind::Stopped.into()
    }

    /// The statement found no row; see [`OptionalExtension`](super::OptionalExtension).
    pub(super) fn no_row() -> Self {
        Kind::NoRow.into()
    }

    pub(super) fn is_no_row(&self) -> bool {
        self.kind == Kind::NoRow
    }

    /// PostgreSQL keeps texts without the character that ends one in C.
    pub(super) fn nul_in_text() -> Self {
        Kind::NulInText.into()
    }

    /// Returns whether the request is what is wrong.
    pub(crate) fn is_of_request(&self) -> bool {
        self.kind == Kind::NulInText
    }

    /// Returns whether nothing was changed, and the same may go well later.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self.kind, Kind::Busy | Kind::Full | Kind::Unreachable)
    }

    /// Returns whether nobody knows what was changed.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self.kind, Kind::Ambiguous | Kind::Stopped)
    }

    /// The database did not answer in time.
    pub(crate) fn no_answer() -> Self {
        Kind::Unreachable.into()
    }

    /// There is no connection to be had.
    pub(crate) fn no_connection(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::new(Kind::Unreachable, error),
            PoolError::Timeout(_) => Self::new(Kind::Busy, error),
            error => Self::new(Kind::Unreachable, error),
        }
    }

    /// The same of a commit: where there was no answer, nobody knows.
    pub(super) fn of_commit(mut self) -> Self {
        if self.kind == Kind::Unreachable {
            self.kind = Kind::Ambiguous;
        }
        self
    }

    /// Code went on in a transaction after a statement had failed.
    pub(super) fn went_on_after_failure() -> Self {
        Self::new(Kind::Other, "a statement of the transaction had failed")
    }

    /// A statement and what it was given don't go together.
    pub(super) fn unsuitable(why: &'static str) -> Self {
        Self::new(Kind::Other, why)
    }

    /// A column holds what only damage, or somebody else, can have put there.
    pub(crate) fn unreadable(error: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self::new(Kind::Other, error)
    }

    fn new(kind: Kind, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }
}

impl From<Kind> for DatabaseError {
    fn from(kind: Kind) -> Self {
        Self { kind, source: None }
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
        Self::new(kind, error)
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(said) => Self::new(kind_of(said.code()), Refusal::of(said)),
            None if error.is_closed() || has_io_error(&error) => {
                Self::new(Kind::Unreachable, error)
            }
            None => Self::new(Kind::Other, error),
        }
    }
}

/// What PostgreSQL answered instead of doing it, without the details, which repeat what is in rows.
#[derive(Debug)]
struct Refusal {
    state: String,
    message: String,
}

impl Refusal {
    fn of(said: &DbError) -> Self {
        Self {
            state: said.code().code().to_owned(),
            message: said.message().to_owned(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.state)
    }
}

impl error::Error for Refusal {}

/// Sorts what PostgreSQL says by the classes of its manual, appendix A.
fn kind_of(state: &SqlState) -> Kind {
    match *state {
        SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::LOCK_NOT_AVAILABLE
        | SqlState::QUERY_CANCELED
        | SqlState::TOO_MANY_CONNECTIONS => Kind::Busy,
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => Kind::Damaged,
        SqlState::INSUFFICIENT_PRIVILEGE | SqlState::READ_ONLY_SQL_TRANSACTION => Kind::Full,
        _ => match state.code().get(..2) {
            Some("08" | "57") => Kind::Unreachable,
            // A transaction that waited too long for us: the connection is gone.
            Some("25") => Kind::Unreachable,
            Some("53") => Kind::Full,
            _ => Kind::Other,
        },
    }
}

fn has_io_error(error: &tokio_postgres::Error) -> bool {
    let source = error::Error::source(error);
    source.is_some_and(|source| source.is::<std::io::Error>())
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Ambiguous => {
                "the database did not say whether it made the change: look whether it did before you try again"
            }
            Kind::Busy => {
                "the database is busy with other work, or locked by another program: try again, and if it goes on, look for who holds it; nothing was changed"
            }
            Kind::Damaged => {
                "the database is damaged or not a database: restore it from a backup; nothing was changed"
            }
            Kind::Full => {
                "the database cannot be read or written: look for a full disk and for permissions; nothing was changed"
            }
            Kind::NoRow => "the database has no such row",
            Kind::NulInText => {
                "a text holds the character U+0000, which cannot be kept: leave it out"
            }
            Kind::Other => "the database failed",
            Kind::Stopped => "the database connection has stopped: look into the log and restart",
            Kind::Unreachable => {
                "the database cannot be reached: look whether it runs, and after the network; nothing was changed"
            }
        })
    }
}

impl error::Error for DatabaseError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use crate::db::{params, scratch::Scratch};

    use super::*;

    #[test]
    fn without_an_answer_nothing_is_known_of_a_commit_and_of_nothing_else() {
        let late = DatabaseError::no_answer();
        assert!(late.may_pass() && !late.is_undecided());
        let late = DatabaseError::no_answer().of_commit();
        assert!(!late.may_pass() && late.is_undecided());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_error_of_postgresql_says_nothing_of_what_is_in_rows() {
        let Some(scratch) = Scratch::postgres().await else {
            return;
        };
        let database = scratch.connect().await;
        let twice = |transaction: &crate::db::Transaction<'_>| {
            for _ in 0..2 {
                transaction.execute(
                    "INSERT INTO required_keys (ring, id, since) VALUES (?1, ?2, ?3)",
                    params!["signing", "what-is-in-the-row", 0],
                )?;
            }
            Ok::<_, DatabaseError>(())
        };
        let error = database.write(twice).await.unwrap_err();
        let mut said = format!("{error:?}");
        let mut source = Some(&error as &dyn error::Error);
        while let Some(error) = source {
            said = format!("{said}: {error}");
            source = error.source();
        }
        assert!(said.contains("23505"), "{said}");
        assert!(!said.contains("what-is-in-the-row"), "{said}");
    }
}
