//! Whom a command asks: the server that holds the data directory, or nobody but itself.

use std::{path::Path, time::Duration};

use crate::{
    actions::Action,
    app::App,
    control::ControlClient,
    data_dir::{DataDir, DataDirLock, keys::KeySource},
    error::{AppError, ErrorCode},
};

/// Runs actions.
#[derive(Debug)]
pub(super) enum Caller {
    /// In this process, which holds the data directory meanwhile.
    Direct(App),
    /// In the server.
    Server(ControlClient),
}

/// How often, and how long between, a directory is tried that another process holds without being
/// reached: a command that is about to end, or a server that is about to start.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

impl Caller {
    /// Finds out who holds the data directory at `path`.
    pub(super) async fn find(path: &Path, keys: &KeySource) -> Result<Self, AppError> {
        let data_dir = DataDir::open(path)?;
        for _ in 0..ATTEMPTS {
            if let Some(lock) = data_dir.try_lock()? {
                return Self::direct(&data_dir, lock, keys).await;
            }
            if let Ok(client) = ControlClient::connect(&data_dir).await {
                return Ok(Self::Server(client));
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
        keys: &KeySource,
    ) -> Result<Self, AppError> {
        if !data_dir.has_database() {
            return Err(AppError::new(
                ErrorCode::NoDataDir,
                format!(
                    "the data directory {} holds no database: start `wst serve`",
                    data_dir.path().display()
                ),
            ));
        }
        let keys = keys.read(data_dir)?;
        Ok(Self::Direct(App::open(data_dir, lock, keys, None).await?))
    }

    pub(super) async fn call<A: Action>(&self, action: A) -> Result<A::Outcome, AppError> {
        match self {
            Self::Direct(app) => action.run(app).await,
            Self::Server(client) => client.call(&action).await,
        }
    }
}
