//! How a store is opened.

use std::{path::PathBuf, sync::Arc};

use tower_workspace_token::clock::{Clock, SystemClock};

use crate::{error::OpenError, store::SqliteStore};

/// Opens a [`SqliteStore`] other than by default.
///
/// ```no_run
/// use tower_workspace_token_sqlite::Options;
///
/// let store = Options::new("/var/lib/wst/tokens.db").exclusive().open()?;
/// # Ok::<_, tower_workspace_token_sqlite::OpenError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    pub(crate) path: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shared: bool,
}

impl Options {
    /// Begins with the defaults: the system's clock, and a file that other processes may use too.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            clock: Arc::new(SystemClock),
            // A command line beside a server is so common that the faster default would be a trap.
            shared: true,
        }
    }

    /// Takes the time from `clock`, which has to be the authority's: confirmed moments are compared with it.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Promises that no other process, and no other store of this one, uses the file.
    ///
    /// A rotation then need not wait for others' leases. The promise is not checked: lock the
    /// directory, or know that there is nobody else. One who reads is somebody else too.
    pub fn exclusive(mut self) -> Self {
        self.shared = false;
        self
    }

    /// Opens the database, and makes it if it is not there.
    ///
    /// Blocks for some milliseconds: call it when you start up.
    ///
    /// # Errors
    /// See [`OpenErrorKind`](crate::OpenErrorKind); a file that was there is left as it is.
    pub fn open(self) -> Result<SqliteStore, OpenError> {
        SqliteStore::with_options(&self)
    }
}
