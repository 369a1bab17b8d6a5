//! What can go wrong with a database server, and what that means for a caller.
//!
//! SQLSTATEs are sorted here and nowhere else. No error text holds a password or a bound value: of what a server says only
//! [`Reported`] is kept.

use std::{error, fmt};

use deadpool_postgres::{HookError, PoolError};
use tokio_postgres::error::SqlState;
use tower_workspace_token::store::{StoreError, StoreErrorKind};

/// A database that could not be opened; see [`kind`](Self::kind) for what to do about it.
#[derive(Debug)]
pub struct OpenError {
    kind: OpenErrorKind,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

/// Sorts an [`OpenError`]. Whichever it is, the tables were left as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// The server does not let this user in: check user, password and `pg_hba.conf`.
    Authentication,
    /// The database stores text in an encoding other than UTF8: make one with `ENCODING 'UTF8'`.
    Encoding,
    /// There are tables named `wst_…` that this crate did not make: name another schema or database.
    Foreign,
    /// The address can't be understood, or asks for what is not there; it is not shown, since it may hold a password.
    InvalidAddress,
    /// Other processes use the database with another lease: give all of them the same one, or stop them first.
    LeaseDiffers,
    /// The tables were made by a newer version of this crate: upgrade.
    Newer,
    /// The server has no such database: make it, or name another one.
    NoDatabase,
    /// The server forgets what it has acknowledged when its machine fails (`fsync=off`): turn it on.
    NotDurable,
    /// The user may not make or write the tables: give it a schema of its own.
    Permission,
    /// A pooler (PgBouncer in transaction mode) lends sessions for one transaction at a time, so that their settings are lost or become
    /// those of others: name the server itself, or use session mode.
    Pooler,
    /// The server is a standby, or read-only: name the primary.
    Standby,
    /// TLS failed: the server has none, or its certificate is not that of a trusted authority for this host.
    Tls,
    /// The server is older than PostgreSQL 13: upgrade it.
    TooOld,
    /// The server can't be reached, is starting, or has no connection left: see [`source`](error::Error::source).
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
            OpenErrorKind::Authentication => {
                "the database server does not let this user in: check user, password and pg_hba.conf"
            }
            OpenErrorKind::Encoding => {
                "the database is not in UTF8: make one with ENCODING 'UTF8' TEMPLATE template0"
            }
            OpenErrorKind::Foreign => {
                "the database has tables named wst_… of something else: name another schema or database"
            }
            OpenErrorKind::InvalidAddress => {
                "the address of the database is not one: postgres://user:password@host:port/database"
            }
            OpenErrorKind::LeaseDiffers => {
                "other processes use the database with another lease: give all the same, or stop them first"
            }
            OpenErrorKind::Newer => "the tables were made by a newer version: upgrade",
            OpenErrorKind::NoDatabase => "the server has no such database: make it with createdb",
            OpenErrorKind::NotDurable => {
                "the server forgets acknowledged writes when its machine fails: set fsync = on"
            }
            OpenErrorKind::Permission => {
                "the user may not make or write the tables: CREATE SCHEMA wst AUTHORIZATION the user"
            }
            OpenErrorKind::Pooler => {
                "a pooler lends sessions for one transaction at a time: name the server itself, or set pool_mode = session"
            }
            OpenErrorKind::Standby => "the server is a standby or read-only: name the primary",
            OpenErrorKind::Tls => {
                "TLS with the database server failed: check its certificate, or name the roots to trust"
            }
            OpenErrorKind::TooOld => "the server is older than PostgreSQL 13: upgrade it",
            OpenErrorKind::Unavailable => "the database server can't be reached",
        })
    }
}

impl error::Error for OpenError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

impl From<tokio_postgres::Error> for OpenError {
    fn from(error: tokio_postgres::Error) -> Self {
        let kind = match error.code().map(SqlState::code) {
            Some(code) if code.starts_with("28") => OpenErrorKind::Authentication,
            Some("3D000") => OpenErrorKind::NoDatabase,
            Some("25006") => OpenErrorKind::Standby,
            Some("42501") => OpenErrorKind::Permission,
            Some(_) => OpenErrorKind::Unavailable,
            None => of_connection(&error),
        };
        Self::with_source(kind, without_detail(error))
    }
}

/// What a server said, but for DETAIL and whatever else quotes rows: ciphertext, names of workspaces, actors and reasons.
#[derive(Debug)]
struct Reported {
    code: SqlState,
    severity: String,
    message: String,
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            severity,
            message,
        } = self;
        write!(f, "{severity} {}: {message}", code.code())
    }
}

impl error::Error for Reported {}

fn without_detail(error: tokio_postgres::Error) -> Box<dyn error::Error + Send + Sync> {
    match error.as_db_error() {
        Some(reported) => Box::new(Reported {
            code: reported.code().clone(),
            severity: reported.severity().to_owned(),
            message: reported.message().to_owned(),
        }),
        None => Box::new(error),
    }
}

/// Sorts an error that the client has found, whose kind the driver tells in words alone.
fn of_connection(error: &tokio_postgres::Error) -> OpenErrorKind {
    let cause = error::Error::source(error).map(ToString::to_string);
    let words = format!("{error} {}", cause.unwrap_or_default());
    if words.contains("TLS handshake") {
        OpenErrorKind::Tls
    } else if words.contains("authentication") || words.contains("password") {
        OpenErrorKind::Authentication
    } else if words.contains("does not allow writes") {
        OpenErrorKind::Standby
    } else if words.contains("configuration") {
        OpenErrorKind::InvalidAddress
    } else {
        OpenErrorKind::Unavailable
    }
}

/// A statement that did not come to an answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There was no connection, or not in time: nothing was sent.
    NotSent(Box<dyn error::Error + Send + Sync>),
    /// The server, or the way to it, failed before the statement itself was sent.
    Unprepared(tokio_postgres::Error),
    /// The server, or the way to it, failed.
    Failed(tokio_postgres::Error),
    /// No answer came in time.
    TimedOut,
    /// The database has another lease than when the store was opened: nothing was written.
    LeaseChanged,
    /// The answer is none that this crate's statements have.
    Nonsense(Box<dyn error::Error + Send + Sync>),
}

impl Failure {
    /// Returns whether the connection was lost, as those are that a server leaves behind when it restarts.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::Failed(error) | Self::Unprepared(error) => match error.code() {
                Some(code) => code.code().starts_with("57P") || code.code().starts_with("08"),
                None => true,
            },
            _ => false,
        }
    }

    /// Sorts the failure of a read.
    pub(crate) fn of_read(self) -> StoreError {
        match self {
            Self::NotSent(source) => StoreError::with_source(StoreErrorKind::Unavailable, source),
            Self::TimedOut => StoreError::with_source(StoreErrorKind::Unavailable, NO_ANSWER),
            Self::LeaseChanged => {
                StoreError::with_source(StoreErrorKind::Unavailable, ANOTHER_LEASE)
            }
            Self::Failed(error) | Self::Unprepared(error) => {
                StoreError::with_source(before_commit(code(&error)), without_detail(error))
            }
            Self::Nonsense(source) => StoreError::with_source(StoreErrorKind::Corrupt, source),
        }
    }

    /// Sorts the failure of a write, which is its own transaction.
    pub(crate) fn of_write(self) -> StoreError {
        match self {
            Self::TimedOut => StoreError::with_source(StoreErrorKind::Ambiguous, NO_ANSWER),
            Self::Failed(error) => {
                StoreError::with_source(in_write(code(&error)), without_detail(error))
            }
            other => other.of_read(),
        }
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        Self::NotSent(match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                without_detail(error)
            }
            error => error.into(),
        })
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(error)
    }
}

const ANOTHER_LEASE: &str =
    "the lease of the database was changed since the store was opened: open it again";

const NO_ANSWER: &str = "the database server did not answer in time";

fn code(error: &tokio_postgres::Error) -> Option<&str> {
    Some(error.code()?.code())
}

/// Sorts what was answered to a read, or to a write that was not committed.
pub(crate) fn before_commit(code: Option<&str>) -> StoreErrorKind {
    match code {
        Some("25006" | "42501") => StoreErrorKind::Full,
        Some(code) => match &code[..code.len().min(2)] {
            "53" => StoreErrorKind::Full,
            // A constraint, a column or a table that is missing: the tables are not what this crate made.
            "22" | "23" | "42" => StoreErrorKind::Corrupt,
            _ => StoreErrorKind::Unavailable,
        },
        None => StoreErrorKind::Unavailable,
    }
}

/// Sorts what was answered to a write that commits by itself.
pub(crate) fn in_write(code: Option<&str>) -> StoreErrorKind {
    // A server that shuts down says so (57P01) also when the row is committed and a standby was waited for.
    const MAY_HAVE_COMMITTED: [&str; 4] = ["08", "57P", "58", "XX"];
    match code {
        None | Some("40003") => StoreErrorKind::Ambiguous,
        Some(code)
            if MAY_HAVE_COMMITTED
                .iter()
                .any(|class| code.starts_with(class)) =>
        {
            StoreErrorKind::Ambiguous
        }
        code => before_commit(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_of_each_failure_whether_something_was_written() {
        use StoreErrorKind::{Ambiguous, Corrupt, Full, Unavailable};
        let cases = [
            ("connection lost", None, Unavailable, Ambiguous),
            ("connection failure", Some("08006"), Unavailable, Ambiguous),
            ("shut down", Some("57P01"), Unavailable, Ambiguous),
            ("crashed", Some("57P02"), Unavailable, Ambiguous),
            ("internal", Some("XX000"), Unavailable, Ambiguous),
            ("write error", Some("58030"), Unavailable, Ambiguous),
            ("completion unknown", Some("40003"), Unavailable, Ambiguous),
            ("cancelled", Some("57014"), Unavailable, Unavailable),
            ("deadlock", Some("40P01"), Unavailable, Unavailable),
            ("disk full", Some("53100"), Full, Full),
            ("no permission", Some("42501"), Full, Full),
            ("read-only", Some("25006"), Full, Full),
            ("constraint", Some("23514"), Corrupt, Corrupt),
            ("no table", Some("42P01"), Corrupt, Corrupt),
        ];
        for (name, code, before, during) in cases {
            assert_eq!(before_commit(code), before, "{name}");
            assert_eq!(in_write(code), during, "{name}");
        }
    }
}
