//! Whom a command asks: the server that holds the data directory, or nobody but itself.

use std::{path::PathBuf, time::Duration};

use serde::de::DeserializeOwned;
use workspace_token_key_memory::hold;

use super::progress::Progress;
use crate::{
    actions::{Action, JobProgress},
    app::App,
    at_rest::AtRest,
    caller::Caller,
    config::Settings,
    control::ControlClient,
    data_dir::{DataDir, DataDirLock},
    error::{AppError, ErrorCode},
    progress::JobKind,
};

/// Runs actions.
#[derive(Debug)]
pub(super) enum Runner {
    /// In this process, which holds the data directory meanwhile.
    Direct(App),
    /// In the server.
    Server(ControlClient, DataDir),
}

/// How often, and how long between, a directory is tried that another process holds without being
/// reached: a command that is about to end, or a server that is about to start.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

impl Runner {
    /// Finds out who holds the data directory at `path`.
    pub(super) async fn find(settings: &Settings) -> Result<Self, AppError> {
        let data_dir = DataDir::open(&settings.data_dir)?;
        for _ in 0..ATTEMPTS {
            if let Some(lock) = data_dir.try_lock()? {
                return Self::direct(&data_dir, lock, settings).await;
            }
            if let Ok(client) = ControlClient::connect(&data_dir).await {
                return Ok(Self::Server(client, data_dir));
            }
            tokio::time::sleep(PAUSE).await;
        }
        // Never past the lock: the server would not learn of what was written.
        Err(AppError::new(
            ErrorCode::Unavailable,
            format!(
                "another process holds the data directory {} and does not answer on its control socket: restart the server",
                data_dir.path().display()
            ),
        ))
    }

    async fn direct(
        data_dir: &DataDir,
        lock: DataDirLock,
        settings: &Settings,
    ) -> Result<Self, AppError> {
        data_dir.check_kind(&settings.database, settings.is_database_named())?;
        let database = settings.database.find(data_dir).await?;
        if database.is_new() {
            return Err(AppError::new(
                ErrorCode::NoDataDir,
                format!(
                    "the data directory {} goes with no database: start `wst serve`",
                    data_dir.path().display()
                ),
            ));
        }
        let keys = hold(|| settings.keys.read(data_dir))?;
        // What a variable says is for the server: a command does as the server did.
        let as_before = AtRest::default();
        Ok(Self::Direct(
            App::open(data_dir, lock, database, keys, None, &as_before).await?,
        ))
    }

    /// Ends it. What worked on the database itself leaves it, so that no server takes it for one that crashed.
    pub(super) async fn close(self) {
        if let Self::Direct(app) = self {
            app.leave().await;
        }
    }

    /// Returns where the data directory is.
    pub(super) fn data_dir(&self) -> PathBuf {
        match self {
            Self::Direct(app) => app.data_dir().to_owned(),
            Self::Server(_, data_dir) => data_dir.path().to_owned(),
        }
    }

    pub(super) async fn call<A: Action<Outcome: DeserializeOwned>>(
        &self,
        action: A,
    ) -> Result<A::Outcome, AppError> {
        match self {
            Self::Direct(app) => app.perform(action, &Caller::CommandLine).await,
            Self::Server(client, _) => client.call(&action).await,
        }
    }

    /// The same for work that takes a while, and shows how far it has come.
    pub(super) async fn call_showing<A: Action<Outcome: DeserializeOwned>>(
        &self,
        action: A,
        job: JobKind,
        mut progress: Progress,
    ) -> Result<A::Outcome, AppError> {
        let asking = self.again().await;
        let mut call = std::pin::pin!(self.call(action));
        loop {
            tokio::select! {
                outcome = &mut call => return outcome,
                () = tokio::time::sleep(PAUSE) => {}
            }
            // Who cannot be asked how far the work is may well be at work.
            if let Some(asking) = &asking
                && let Ok(standing) = asking.call(JobProgress { job }).await
            {
                progress.set(standing.done, standing.total);
            }
        }
    }

    /// Returns another way to the same end: a connection answers one call at a time.
    async fn again(&self) -> Option<Self> {
        match self {
            Self::Direct(app) => Some(Self::Direct(app.clone())),
            Self::Server(_, data_dir) => {
                let data_dir = data_dir.reopen().ok()?;
                let client = ControlClient::connect(&data_dir).await.ok()?;
                Some(Self::Server(client, data_dir))
            }
        }
    }
}
