#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![warn(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]
//! Workspace tokens in an SQLite file: a [`TokenStore`](tower_workspace_token::store::TokenStore) for
//! one machine.
//!
//! ```
//! use tower_workspace_token::store::TokenStore;
//! use tower_workspace_token_sqlite::SqliteStore;
//!
//! # let directory = std::env::temp_dir().join(format!("wst-quick-start-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! # let path = directory.join("tokens.db");
//! let store = SqliteStore::open(path)?; // made if it is not there, readable by its owner alone
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let rows = store.list(&"acme".parse()?).await?;
//! assert!(rows.is_empty());
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # std::fs::remove_dir_all(directory)?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Options`] has the rest: a clock, and a promise that nobody else uses the file.
//!
//! # What is promised
//! - **Durable.** A write that was acknowledged is on the disk (`synchronous=FULL`): it outlives the
//!   process and a power failure, as far as the disk keeps its own word. A write that was refused
//!   left nothing behind, neither row nor event, on a full disk too. Where SQLite itself can't tell,
//!   because the disk failed in the very commit, the answer is
//!   [`Ambiguous`](tower_workspace_token::store::StoreErrorKind::Ambiguous).
//! - **Several processes on one machine.** Each reads at once what any of them has written. What is
//!   kept in memory is confirmed every few milliseconds and trusted for [`LEASE`], 20 ms; changes
//!   that this process makes are reported before they are acknowledged.
//! - **Private.** A file that the store makes is readable and writable by its owner alone (0600,
//!   whatever the umask), and so are the `-wal` and `-shm` beside it. It holds sealed tokens only.
//! - **Careful.** A file of another application, of a newer version of this crate, or one that is
//!   damaged is refused, each with its own [`OpenErrorKind`], and is left as it is.
//!
//! # What is not
//! - **Network file systems.** WAL needs shared memory and locks that work: one machine, a local disk.
//! - **A file that is swapped while it is open.** The store notices within milliseconds if anybody
//!   watches it, and refuses everything from then on; what was written into the old file in between
//!   went with it. Stop the processes first, then restore.
//! - **A backup that is older than the last rotation.** Put in place by hand, it brings the old token
//!   back: run [`merge_slots`] on it first, or rotate every token. A
//!   [journal](tower_workspace_token::store::journal) on another volume notices it: [`for_each_slot`] shows it the rows.
//!
//! # Your own tables in the same file
//! All tables here are named `wst_…`: name yours otherwise. Open the store first: it
//! makes the file its own. `PRAGMA user_version` is free for your migrations, `application_id` isn't.
//! [`SqliteStore::connection`] opens a connection for you. Begin transactions that write with
//! `BEGIN IMMEDIATE`, keep them short (the store's own writes wait meanwhile, up to five seconds),
//! and never open the file other than through SQLite: closing it drops the locks of the whole
//! process. A write that must not happen once a token has been rotated asks in its own transaction:
//!
//! ```
//! use rusqlite::TransactionBehavior;
//! use tower_workspace_token::id::{Generation, SlotKey, TokenName};
//! use tower_workspace_token_sqlite::{SqliteStore, rusqlite, slot_generation};
//!
//! # let directory = std::env::temp_dir().join(format!("wst-own-tables-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! # let path = directory.join("tokens.db");
//! let store = SqliteStore::open(path)?;
//! let mut connection = store.connection()?;
//! connection.execute_batch("CREATE TABLE notes (text TEXT NOT NULL) STRICT")?;
//!
//! // What the request was let in with.
//! let (key, generation) = (SlotKey::new("acme".parse()?, TokenName::primary()), Generation::FIRST);
//!
//! let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
//! let slot = slot_generation(&transaction, &key)?;
//! if slot.is_some_and(|slot| slot.is_live && slot.generation == generation) {
//!     transaction.execute("INSERT INTO notes VALUES (?1)", ["written by a live token"])?;
//!     transaction.commit()?;
//! }
//! # std::fs::remove_dir_all(directory)?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//! One thread writes: it takes all writes that wait and commits them together, so that one
//! `fsync` serves many. A point read runs on the calling thread, on a connection that nobody else
//! holds: it takes a few microseconds, less than a hop to another thread would. Longer reads
//! have a thread of their own. A third thread asks `PRAGMA data_version` every few milliseconds and,
//! when another connection has committed, reads the rows with a higher change number.

mod connection;
mod error;
mod feed;
mod file;
mod guard;
mod lookups;
mod merge;
mod options;
mod queries;
mod readers;
mod rows;
mod schema;
mod store;
mod thread;
mod writer;

pub use error::{OpenError, OpenErrorKind};
pub use feed::LEASE;
pub use guard::{SlotGeneration, slot_generation};
pub use merge::{MergedSlots, Provenance, merge_slots};
pub use options::Options;
pub use queries::LiveSlot;
pub use rows::for_each_slot;
/// The version of `rusqlite` whose connections [`SqliteStore::connection`] opens.
pub use rusqlite;
pub use store::SqliteStore;
