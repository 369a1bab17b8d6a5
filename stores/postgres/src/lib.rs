#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]
//! Workspace tokens in a PostgreSQL database: a [`TokenStore`](tower_workspace_token::store::TokenStore) for several
//! servers.
//!
//! ```no_run
//! use tower_workspace_token::{Keys, TokenAuthority};
//! use tower_workspace_token_postgres::PostgresStore;
//!
//! # async fn start(keys: Keys) -> Result<(), Box<dyn std::error::Error>> {
//! // Makes its tables if they are not there.
//! let store = PostgresStore::connect("postgres://wst@db.internal/wst").await?;
//! let authority = TokenAuthority::builder(store.clone(), keys).build()?;
//! // When the server has stopped serving:
//! store.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`Options`] has the rest: the lease, the number of connections, timeouts, TLS, a clock.
//!
//! # What is promised
//! - **Every node obeys a rotation when it returns.** It returns when every other process on the database has said that it
//!   knows, some milliseconds after the commit as a rule, and one [lease](PostgresStore::lease) after it if one
//!   says nothing. [`with_wait`](tower_workspace_token::TokenAuthority::with_wait) chooses not to wait, and the receipt says what was waited for.
//! - **What is not heard is not trusted.** A process trusts its memory for one lease, a second by default, after the
//!   moment at which it last *asked* the database; then each check reads the database, and fails if it can't. That
//!   holds when notifications are lost, when the network is cut, and when the process was frozen.
//! - **Durable.** A write that was acknowledged is on the disk of the server: `synchronous_commit` is on in the sessions of this crate, whatever
//!   the role's setting, and a server with `fsync=off` is refused. A write whose answer did not come is
//!   [`Ambiguous`](tower_workspace_token::store::StoreErrorKind::Ambiguous).
//! - **Bounded in time.** Each operation ends within [`Options::with_timeout`], five seconds by default, the wait for a connection included.
//! - **Encrypted.** To any host but this machine, connections are encrypted and the server's certificate is verified with its name, unless the
//!   address says `sslmode=disable`; see [`Options::new`]. The address, which may hold a password, is printed nowhere; our copy of it
//!   is wiped, that of the driver lives as long as the store.
//! - **Careful.** Whatever can't be kept is refused when the store is opened, each with an [`OpenErrorKind`] and a sentence that says what to do.
//!
//! # What is not
//! - **A failover to a standby that is behind.** It loses rotations that were acknowledged, and the old tokens live again. Let
//!   the primary wait for a standby (`synchronous_standby_names`), or rotate what was rotated last.
//!   An administrator who cancels a commit that waits for a standby has it acknowledged all the same.
//! - **Two primaries at once.** Fence the old one before the standby is promoted.
//! - **A machine that is suspended.** The clock by which a lease runs out may stand still meanwhile: a process that wakes up trusts its memory for
//!   the rest of its lease. Don't suspend machines that serve.
//! - **PgBouncer in transaction mode.** It carries neither `LISTEN` nor sessions that are set up, and is refused ([`Pooler`](OpenErrorKind::Pooler)): name the server itself, or use session mode.
//! - **A dump that is older than the last rotation.** It brings the old token back, as any backup does. A
//!   [journal](tower_workspace_token::store::journal) on another volume notices it: [`PostgresStore::for_each_slot`] shows it the rows.
//!
//! # The server
//! PostgreSQL 13 or later, a database in UTF8, and a user that may create tables in the first schema of its `search_path`:
//!
//! ```sql
//! CREATE ROLE wst LOGIN PASSWORD '…';
//! CREATE DATABASE wst OWNER wst ENCODING 'UTF8' TEMPLATE template0;
//! ```
//!
//! Several stores share a database in a schema each: `?options=-c%20search_path%3Dtenant`. A process needs
//! [`Options::with_pool_size`] connections and one more.
//!
//! # Your own tables in the same database
//! All tables here are named `wst_…`: name yours otherwise. [`PostgresStore::pool`] has connections for you. A write that must
//! not happen once a token has been rotated asks in its own transaction, and holds up a rotation until it has ended:
//!
//! ```no_run
//! use tower_workspace_token::id::{Generation, SlotKey, TokenName};
//! use tower_workspace_token_postgres::{PostgresStore, slot_generation};
//!
//! # async fn write(store: PostgresStore) -> Result<(), Box<dyn std::error::Error>> {
//! // What the request was let in with.
//! let (key, generation) = (SlotKey::new("acme".parse()?, TokenName::primary()), Generation::FIRST);
//!
//! let mut client = store.pool().get().await?;
//! let transaction = client.transaction().await?;
//! let slot = slot_generation(&transaction, &key).await?;
//! if slot.is_some_and(|slot| slot.is_live && slot.generation == generation) {
//!     transaction.execute("INSERT INTO notes VALUES ($1)", &[&"written by a live token"]).await?;
//!     transaction.commit().await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//! A write is one statement, which compares the revision, records the event and notifies: one round trip, and its own transaction. A
//! point read is one round trip too.
//!
//! Each row says in which transaction it was changed. A task per process, with a connection of its own, looks at each notification, and five times
//! per lease in any case: it takes a snapshot, and reads the rows that were changed in a transaction which its last snapshot may not have
//! seen. So nothing is missed, however transactions overlap. What it has read it reports, then confirms, and then
//! writes into its row of `wst_nodes`, which those who rotate look at. A process enters that table before it
//! trusts anything, and who has been silent there for ten seconds, long after its memory is dead, is taken out by the others.

mod acknowledgements;
mod address;
mod connector;
mod error;
mod feed;
mod guard;
mod import;
mod nodes;
mod options;
mod pool;
mod queries;
mod rows;
mod schema;
mod session;
mod store;

/// The version of `deadpool-postgres` whose pool [`PostgresStore::pool`] is.
pub use deadpool_postgres;
pub use error::{OpenError, OpenErrorKind};
pub use guard::{SlotGeneration, slot_generation, slot_generation_on};
pub use import::Imported;
pub use nodes::Node;
pub use options::Options;
pub use rows::LiveSlot;
/// The version of `rustls` that [`Options::with_tls`] takes a configuration of.
pub use rustls;
pub use store::PostgresStore;
/// The version of `tokio-postgres` whose transactions [`slot_generation`] takes.
pub use tokio_postgres;
