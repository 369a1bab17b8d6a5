//! [`App`]: what every action works with, in the server and in a command that works without one.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::RwLock;
use tower_workspace_token::authority::{Keys, TokenAuthority};
use tower_workspace_token_sqlite::Options;

use crate::{
    addresses::{Addresses, DEFAULT_LISTEN},
    data_dir::{DataDir, DataDirLock},
    db::{Database, DatabaseError, meta},
    key_check,
    tasks::Tasks,
    workspaces,
};

/// The open data directory and all that works on it. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct App {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    authority: TokenAuthority,
    database: Database,
    tasks: Tasks,
    addresses: Addresses,
    /// Held by whoever gives a workspace a token, and alone by whoever archives one, so that no token
    /// appears in a workspace after its tokens were revoked.
    lifecycle: RwLock<()>,
    /// Last, so that the directory is free only when nothing uses it any longer.
    _lock: DataDirLock,
}

impl App {
    /// Opens the database of a data directory that this process holds.
    ///
    /// `addresses` are the server's; without them the last server's are taken.
    pub(crate) async fn open(
        data_dir: &DataDir,
        lock: DataDirLock,
        keys: Keys,
        addresses: Option<Addresses>,
    ) -> anyhow::Result<Self> {
        let path = data_dir.database();
        // Exclusive: the lock says that there is nobody else.
        let store = Options::new(&path)
            .exclusive()
            .open()
            .with_context(|| format!("cannot use the database {}", path.display()))?;
        let database = Database::open(&store)?;
        key_check::check(&database, &keys).await?;
        let addresses = match addresses {
            Some(addresses) => {
                remember(&database, &addresses).await?;
                addresses
            }
            None => last_known(&database).await?,
        };
        let authority = TokenAuthority::builder(store, keys).build()?;
        Ok(Self {
            shared: Arc::new(Shared {
                authority: authority.with_actor("command line"),
                tasks: Tasks::new(database.clone()),
                database,
                addresses,
                lifecycle: RwLock::new(()),
                _lock: lock,
            }),
        })
    }

    /// Returns the authority over the workspaces' tokens.
    pub fn authority(&self) -> &TokenAuthority {
        &self.shared.authority
    }

    /// Returns the tasks of all workspaces.
    pub fn tasks(&self) -> &Tasks {
        &self.shared.tasks
    }

    pub(crate) fn database(&self) -> &Database {
        &self.shared.database
    }

    pub(crate) fn addresses(&self) -> &Addresses {
        &self.shared.addresses
    }

    pub(crate) fn lifecycle(&self) -> &RwLock<()> {
        &self.shared.lifecycle
    }

    /// Revokes what a crash in the middle of archiving left alive.
    pub(crate) async fn finish_archiving(&self) -> anyhow::Result<()> {
        let all = self
            .database()
            .read(|snapshot| workspaces::list(snapshot))
            .await?;
        for workspace in all.iter().filter(|workspace| workspace.archived) {
            self.authority().revoke_all(&workspace.id).await?;
        }
        Ok(())
    }
}

async fn remember(database: &Database, addresses: &Addresses) -> Result<(), DatabaseError> {
    let public_url = addresses.public_url().to_string();
    let mcp_domain = addresses.shown_domain().map(ToString::to_string);
    database
        .write(move |transaction| {
            meta::set(transaction, meta::PUBLIC_URL, &public_url)?;
            meta::set(
                transaction,
                meta::MCP_DOMAIN,
                mcp_domain.as_deref().unwrap_or(""),
            )
        })
        .await
}

async fn last_known(database: &Database) -> anyhow::Result<Addresses> {
    let (public_url, mcp_domain) = database
        .read(|snapshot| {
            let public_url = meta::get(snapshot, meta::PUBLIC_URL)?;
            Ok::<_, DatabaseError>((public_url, meta::get(snapshot, meta::MCP_DOMAIN)?))
        })
        .await?;
    let mcp_domain = mcp_domain.filter(|domain| !domain.is_empty());
    let mcp_domain = mcp_domain.map(|domain| domain.parse()).transpose()?;
    Ok(match public_url {
        Some(public_url) => Addresses::last_known(public_url.parse()?, mcp_domain),
        None => Addresses::new(DEFAULT_LISTEN, None, mcp_domain),
    })
}
