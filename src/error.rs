//! What can go wrong when tokens are issued, rotated and revoked.
//!
//! A request that is turned away is no error but a [`Rejection`](crate::rejection::Rejection).

use std::{error, fmt};

use crate::{cipher::CipherError, store::StoreError};

/// An operation on tokens that failed; see [`kind`](Self::kind) for what to do about it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

/// Sorts an [`Error`] by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The slot holds a live token already: rotate it, or name another slot.
    AlreadyIssued,
    /// The store did not say whether it committed: list the tokens to see; the old token is checked against the store until then.
    Ambiguous,
    /// The cipher could not seal or open: see [`source`](error::Error::source).
    Cipher,
    /// Somebody else wrote the slot at the same time: look at it again, then decide.
    Conflict,
    /// The token was rotated or revoked meanwhile: present the current one.
    Ended,
    /// The slot has run through all of its generations: name another slot.
    Exhausted,
    /// The workspace is locked, since an old copy of the database was put back: put the right one back, or
    /// [unlock](crate::store::journal::JournaledStore::unlock) it.
    Locked,
    /// An access token is not exchanged for another one: present the workspace token.
    NotExchangeable,
    /// There is no live token in the slot: issue one first.
    NotFound,
    /// No Tokio runtime is running: call this inside of one.
    Runtime,
    /// The store could not be reached or answered with an error: try again; nothing was changed.
    Store,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(crate) fn with_source(
        kind: ErrorKind,
        source: impl Into<Box<dyn error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// Returns what sort of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ErrorKind::AlreadyIssued => {
                "the slot holds a live token: rotate it or name another slot"
            }
            ErrorKind::Ambiguous => {
                "the store did not say whether it committed: list the tokens to see"
            }
            ErrorKind::Cipher => "the cipher could not seal or open the token",
            ErrorKind::Conflict => "the slot was written by somebody else at the same time",
            ErrorKind::Ended => "the token was rotated or revoked meanwhile",
            ErrorKind::Exhausted => "the slot has run through all of its generations",
            ErrorKind::Locked => {
                "the workspace is locked: an old copy of the database was put back"
            }
            ErrorKind::NotExchangeable => "an access token is not exchanged for another one",
            ErrorKind::NotFound => "there is no live token in the slot",
            ErrorKind::Runtime => "no Tokio runtime is running",
            ErrorKind::Store => "the token store failed",
        })
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

impl From<CipherError> for Error {
    fn from(error: CipherError) -> Self {
        Self::with_source(ErrorKind::Cipher, error)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind() {
            crate::store::StoreErrorKind::Ambiguous => ErrorKind::Ambiguous,
            crate::store::StoreErrorKind::Conflict => ErrorKind::Conflict,
            crate::store::StoreErrorKind::Locked => ErrorKind::Locked,
            _ => ErrorKind::Store,
        };
        Self::with_source(kind, error)
    }
}
