//! [`App`]: what every action works with, in the server and in a command that works without one.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::RwLock;
use tower_workspace_token::{
    authority::TokenAuthority,
    clock::{Clock as _, Moment, SystemClock, Timestamp},
    error::Error as TokenError,
    id::WorkspaceId,
    store::{StoreError, StoreErrorKind},
};
use workspace_token_key_memory::hold;

use crate::{
    actions::Reason,
    activity::Activity,
    addresses::{Addresses, DEFAULT_LISTEN},
    at_rest::{self, AtRest},
    backup::Downloads,
    caller::Caller,
    config::SettingLine,
    data_dir::{DataDir, DataDirLock, keys::OpenKeys},
    db::{Database, DatabaseError, Opening, meta},
    error::AppError,
    hardening, key_check,
    key_room::KeyRoom,
    live::Live,
    nodes::Nodes,
    once::Once,
    people::{accounts::Accounts, setup::SetupFile},
    probes::Probes,
    progress::Jobs,
    rollback::{self, GuardedStore},
    tasks::{Protocol, Tasks},
    workspaces::{self, Protocols},
};

/// How long a node may take to tell the others that it is gone: more than a lease.
const LAST_WORDS: Duration = Duration::from_secs(2);

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
    nodes: Nodes,
    live: Live,
    accounts: Accounts,
    setup_file: SetupFile,
    once: Once,
    activity: Activity,
    protocols: Protocols,
    addresses: Addresses,
    data_dir: PathBuf,
    keys: KeyRoom,
    journal: Option<(PathBuf, GuardedStore)>,
    jobs: Jobs,
    downloads: Downloads,
    probes: Probes,
    started_at: Timestamp,
    started: Moment,
    settings: OnceLock<Vec<SettingLine>>,
    is_demo: AtomicBool,
    /// Held by whoever gives a workspace a token, and alone by whoever archives one: see `lifecycle`, which
    /// has them right where another server does the one or the other.
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
        database: Opening,
        keys: OpenKeys,
        addresses: Option<Addresses>,
        at_rest: &AtRest,
    ) -> anyhow::Result<Self> {
        let (store, database) = database.finish()?;
        let OpenKeys { file, keys } = keys;
        key_check::check(&database, &keys).await?;
        let journal = match store.sqlite() {
            Some(store) => rollback::open(store, &database, &at_rest.rollback_journal).await?,
            None => rollback::refuse(&at_rest.rollback_journal)?,
        };
        let profile = at_rest::profile(&database, at_rest.seal).await?;
        let keys_at_hand = KeyRoom::new(file, store.clone(), &keys);
        let addresses = match addresses {
            Some(addresses) => {
                remember(&database, &addresses).await?;
                addresses
            }
            None => last_known(&database).await?,
        };
        let builder = match &journal {
            None => TokenAuthority::builder(store, keys),
            Some((_, guarded)) => TokenAuthority::builder(guarded.clone(), keys),
        };
        let builder = builder
            .profile(profile)
            .access_token_life(at_rest.access_token_life);
        let authority = hold(|| builder.build())?;
        hardening::warn_of_spilled_keys();
        let is_demo = database
            .read(|snapshot| meta::get(snapshot, meta::DEMO))
            .await?
            .is_some();
        let downloads = Downloads::new(data_dir.download());
        if let Err(left) = downloads.clear() {
            tracing::warn!("{left:#}");
        }
        let once = Once::open(database.clone()).await?;
        let live = Live::default();
        let nodes = Nodes::of(keys_at_hand.store());
        let protocols = Protocols::default();
        let legacy = database.read(workspaces::legacy);
        for workspace in legacy.await? {
            protocols.set(&workspace, Protocol::Legacy);
        }
        Ok(Self {
            shared: Arc::new(Shared {
                authority,
                tasks: Tasks::new(database.clone(), live.clone(), nodes.clone()),
                nodes,
                accounts: Accounts::new(database.clone(), live.clone()),
                setup_file: SetupFile::new(data_dir.setup_link()),
                once,
                activity: Activity::new(live.clone()),
                live,
                protocols,
                database,
                addresses,
                data_dir: data_dir.path().to_owned(),
                keys: keys_at_hand,
                journal,
                jobs: Jobs::default(),
                downloads,
                probes: Probes::default(),
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

    /// Returns what this server is among those on its database.
    pub(crate) fn nodes(&self) -> &Nodes {
        &self.shared.nodes
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

    /// Returns the path of the data directory, as an absolute one.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.shared.data_dir
    }

    /// Tells the other nodes that nobody here has to be waited for any longer. Checks of tokens fail from here on.
    pub(crate) async fn leave(&self) {
        if let Some(store) = self.keys().store().postgres() {
            let _ = tokio::time::timeout(LAST_WORDS, store.close()).await;
        }
    }

    /// Returns where the keys are kept.
    pub(crate) fn keys(&self) -> &KeyRoom {
        &self.shared.keys
    }

    /// Returns where the rollback journal is, if there is one, and the store under its watch.
    pub(crate) fn journal(&self) -> Option<&(PathBuf, GuardedStore)> {
        self.shared.journal.as_ref()
    }

    /// Returns whether an old copy of a workspace's tokens was put back, so that none of them is accepted.
    pub(crate) fn is_locked(&self, workspace: &WorkspaceId) -> bool {
        self.journal()
            .is_some_and(|(_, guarded)| guarded.is_locked(workspace))
    }

    /// Stops what would end a workspace's tokens while nothing can be written about them.
    ///
    /// To be asked before the first write: half of it would be worse than nothing.
    pub(crate) fn refuse_if_locked(&self, workspace: &WorkspaceId) -> Result<(), AppError> {
        match self.is_locked(workspace) {
            true => Err(TokenError::from(StoreError::new(StoreErrorKind::Locked)).into()),
            false => Ok(()),
        }
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

    /// Returns the requests of `wst doctor` that are waited for.
    pub(crate) fn probes(&self) -> &Probes {
        &self.shared.probes
    }

    pub(crate) fn lifecycle(&self) -> &RwLock<()> {
        &self.shared.lifecycle
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
