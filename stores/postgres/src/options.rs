//! How a store is opened.

use std::{fmt, sync::Arc, time::Duration};

use secrecy::SecretString;
use tower_workspace_token::clock::{Clock, SystemClock};

use crate::{error::OpenError, store::PostgresStore};

/// Opens a [`PostgresStore`] other than by default.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_workspace_token_postgres::Options;
///
/// # async fn open() -> Result<(), tower_workspace_token_postgres::OpenError> {
/// let store = Options::new("postgres://wst@db.internal/wst")
///     .with_pool_size(16)
///     .with_lease(Duration::from_millis(500))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "call `connect`"]
pub struct Options {
    pub(crate) url: SecretString,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lease: Option<Duration>,
    pub(crate) pool_size: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) timeout: Duration,
    pub(crate) roots: Option<Vec<u8>>,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    pub(crate) may_forget: bool,
}

impl Options {
    /// Begins with the defaults: the system's clock, eight connections, five seconds to connect and for each operation.
    ///
    /// `url` is a [connection string](tokio_postgres::Config), either kind. What it says of
    /// `sslmode` is stricter than elsewhere: if TLS is used, the server's certificate has to be that of a trusted authority
    /// for the host of the address. `prefer`, which is the default, means `require` for any host but this
    /// machine's, and `disable` on this machine: whoever could drop the server's offer of TLS would otherwise read everything.
    /// `verify-ca` and `verify-full` are other words for `require`.
    pub fn new(url: impl Into<SecretString>) -> Self {
        Self {
            url: url.into(),
            clock: Arc::new(SystemClock),
            lease: None,
            pool_size: 8,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            roots: None,
            tls: None,
            may_forget: false,
        }
    }

    /// Takes the time from `clock`, which has to be the authority's: confirmed moments are compared with it.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Chooses how long a process may trust its memory when it hears nothing of the database, from 100 milliseconds to five seconds; what is
    /// outside of that is brought within.
    ///
    /// All processes on a database have the same lease: it is kept there, one second at first, and by default it
    /// is left as it is. Another one is refused while others use the database
    /// ([`LeaseDiffers`](crate::OpenErrorKind::LeaseDiffers)); where one has crashed, this takes ten seconds to find out.
    /// A store that is open without anybody who watches it is in nobody's way; when the lease has been changed, it
    /// writes nothing until it is opened again.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease.clamp(SHORTEST_LEASE, LONGEST_LEASE));
        self
    }

    /// Chooses how many connections there are at most, beside one that listens.
    pub fn with_pool_size(mut self, pool_size: usize) -> Self {
        self.pool_size = pool_size.max(1);
        self
    }

    /// Chooses how long a new connection may take.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Chooses how long an operation may take, the wait for a connection included.
    ///
    /// The server gives up a statement after four fifths of it, so that it can still say that nothing was written.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Trusts the authorities of `pem`, one or more certificates, in place of the operating system's.
    pub fn with_root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Does TLS as `config` says: for a client certificate of your own.
    pub fn with_tls(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// Also uses a server that does not keep what it has acknowledged (`fsync=off`): for tests.
    ///
    /// # Security
    /// When its machine fails, a rotation that was acknowledged may be gone, and the old token lives again.
    pub fn with_insecure_forgetful_server(mut self) -> Self {
        self.may_forget = true;
        self
    }

    /// Connects to the database, and makes the tables if they are not there.
    ///
    /// What the store does by itself runs in the runtime of the caller, which has to have time and I/O enabled.
    ///
    /// # Errors
    /// See [`OpenErrorKind`](crate::OpenErrorKind); tables that were there are left as they are.
    pub async fn connect(self) -> Result<PostgresStore, OpenError> {
        PostgresStore::with_options(self).await
    }
}

/// Without the address, which may hold a password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("clock", &self.clock)
            .field("lease", &self.lease)
            .field("pool_size", &self.pool_size)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("may_forget", &self.may_forget)
            .finish_non_exhaustive()
    }
}

/// The lease of a database that no options say anything about.
pub(crate) const DEFAULT_LEASE: Duration = Duration::from_secs(1);

const SHORTEST_LEASE: Duration = Duration::from_millis(100);

/// Half of what a node may be silent before others take it for gone: by then its memory is long dead.
const LONGEST_LEASE: Duration = Duration::from_secs(5);
