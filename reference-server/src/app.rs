//! [`App`]: what every action works with, in the server and in a command that works without one.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use tokio::sync::RwLock;
use tower_workspace_token::{
    authority::TokenAuthority,
    clock::{Clock as _, Moment, SystemClock, Timestamp},
};
use tower_workspace_token_sqlite::Options;

use crate::{
    actions::Reason,
    activity::Activity,
    addresses::{Addresses, DEFAULT_LISTEN},
    backup::Downloads,
    caller::Caller,
    config::SettingLine,
    data_dir::{DataDir, DataDirLock, keys::OpenKeys},
    db::{Database, DatabaseError, meta},
    key_check,
    key_room::KeyRoom,
    live::Live,
    once::Once,
    people::{accounts::Accounts, setup::SetupFile, transfers},
    progress::Jobs,
    tasks::{Protocol, Tasks},
    workspaces::{self, Protocols},
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
    live: Live,
    accounts: Accounts,
    setup_file: SetupFile,
    once: Once,
    activity: Activity,
    protocols: Protocols,
    addresses: Addresses,
    keys: KeyRoom,
    jobs: Jobs,
    downloads: Downloads,
    started_at: Timestamp,
    started: Moment,
    settings: OnceLock<Vec<SettingLine>>,
    is_demo: AtomicBool,
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
        keys: OpenKeys,
        addresses: Option<Addresses>,
    ) -> anyhow::Result<Self> {
        let path = data_dir.database();
        // Exclusive: the lock says that there is nobody else.
        let store = Options::new(&path)
            .exclusive()
            .open()
            .with_context(|| format!("cannot use the database {}", path.display()))?;
        let database = Database::open(&store)?;
        let OpenKeys { file, keys } = keys;
        key_check::check(&database, &keys).await?;
        let keys_at_hand = KeyRoom::new(file, store.clone(), &keys);
        let addresses = match addresses {
            Some(addresses) => {
                remember(&database, &addresses).await?;
                addresses
            }
            None => last_known(&database).await?,
        };
        let authority = TokenAuthority::builder(store, keys).build()?;
        let is_demo = database
            .read(|snapshot| meta::get(snapshot, meta::DEMO))
            .await?
            .is_some();
        let downloads = Downloads::new(data_dir.download());
        if let Err(left) = downloads.clear() {
            tracing::warn!("{left:#}");
        }
        let live = Live::default();
        let protocols = Protocols::default();
        let legacy = database.read(|snapshot| workspaces::legacy(snapshot));
        for workspace in legacy.await? {
            protocols.set(&workspace, Protocol::Legacy);
        }
        Ok(Self {
            shared: Arc::new(Shared {
                authority,
                tasks: Tasks::new(database.clone(), live.clone()),
                accounts: Accounts::new(database.clone(), live.clone()),
                setup_file: SetupFile::new(data_dir.setup_link()),
                once: Once::new()?,
                activity: Activity::new(live.clone()),
                live,
                protocols,
                database,
                addresses,
                keys: keys_at_hand,
                jobs: Jobs::default(),
                downloads,
                started_at: SystemClock.now(),
                started: SystemClock.moment(),
                settings: OnceLock::new(),
                is_demo: is_demo.into(),
                lifecycle: RwLock::new(()),
                _lock: lock,
            }),
        })
    }

    /// Returns the authority over the workspaces' tokens.
    pub fn authority(&self) -> &TokenAuthority {
        &self.shared.authority
    }

    /// Returns the authority, which keeps in its history that `caller` acts, and why.
    pub(crate) fn authority_of(&self, caller: &Caller, reason: Option<Reason>) -> TokenAuthority {
        let authority = self.authority().with_actor(caller.name());
        match reason {
            None => authority,
            Some(reason) => authority.with_reason(reason.words()),
        }
    }

    /// Returns the tasks of all workspaces.
    pub fn tasks(&self) -> &Tasks {
        &self.shared.tasks
    }

    /// Returns where changes are announced for open pages.
    pub(crate) fn live(&self) -> &Live {
        &self.shared.live
    }

    /// Returns the way in for people.
    pub(crate) fn accounts(&self) -> &Accounts {
        &self.shared.accounts
    }

    pub(crate) fn once(&self) -> &Once {
        &self.shared.once
    }

    pub(crate) fn setup_file(&self) -> &SetupFile {
        &self.shared.setup_file
    }

    /// Returns who is connected, and what tokens are used for.
    pub(crate) fn activity(&self) -> &Activity {
        &self.shared.activity
    }

    /// Returns which workspaces speak which protocol.
    pub(crate) fn protocols(&self) -> &Protocols {
        &self.shared.protocols
    }

    pub(crate) fn database(&self) -> &Database {
        &self.shared.database
    }

    pub(crate) fn addresses(&self) -> &Addresses {
        &self.shared.addresses
    }

    /// Returns where the keys are kept.
    pub(crate) fn keys(&self) -> &KeyRoom {
        &self.shared.keys
    }

    /// Returns when this process began to use the directory, and how long ago that is.
    pub(crate) fn started(&self) -> (Timestamp, Duration) {
        let since = SystemClock.moment().saturating_since(self.shared.started);
        (self.shared.started_at, since)
    }

    /// Keeps the options that the server runs with, for whoever asks; once.
    pub(crate) fn show_settings(&self, settings: Vec<SettingLine>) {
        let _ = self.shared.settings.set(settings);
    }

    /// Returns the options that the server runs with.
    pub(crate) fn settings(&self) -> &[SettingLine] {
        self.shared.settings.get().map_or(&[], Vec::as_slice)
    }

    /// Returns whether the data is a demo's, whatever the server was started with.
    pub(crate) fn is_demo(&self) -> bool {
        self.shared.is_demo.load(Ordering::Relaxed)
    }

    /// Has the pages say so from here on.
    pub(crate) fn say_demo(&self) {
        self.shared.is_demo.store(true, Ordering::Relaxed);
    }

    /// Returns the work that takes a while.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.shared.jobs
    }

    /// Returns the backups that people download.
    pub(crate) fn downloads(&self) -> &Downloads {
        &self.shared.downloads
    }

    pub(crate) fn lifecycle(&self) -> &RwLock<()> {
        &self.shared.lifecycle
    }

    /// Revokes what a crash in the middle of archiving left alive.
    pub(crate) async fn finish_archiving(&self) -> anyhow::Result<()> {
        let archived = self
            .database()
            .read(|snapshot| workspaces::archived(snapshot));
        for workspace in archived.await? {
            self.authority().revoke_all(&workspace).await?;
        }
        Ok(())
    }

    /// Ends the tokens of workspaces that changed hands while a crash kept them from being regenerated:
    /// their former owner has seen them.
    pub(crate) async fn finish_transfers(&self) -> anyhow::Result<()> {
        let unfinished = self
            .database()
            .read(|snapshot| transfers::unfinished(snapshot))
            .await?;
        for id in unfinished {
            self.authority().revoke_all(&id).await?;
            self.database()
                .write(move |transaction| transfers::remove(transaction, &id))
                .await?;
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
        None => Addresses::new(DEFAULT_LISTEN, false, None, mcp_domain),
    })
}
