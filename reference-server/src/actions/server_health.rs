//! How the server is: for the administrator's page. Nothing of it is a secret.

use std::{fs, path::Path};

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::error::Error as TokenError;

use super::{Access, Action};
use crate::{
    app::App,
    caller::Caller,
    config::SettingLine,
    db::{DatabaseError, Store, meta},
    error::AppError,
    text::counted,
    time,
};

/// Asks how the server is, and what it runs with.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerHealth {}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Health {
    pub(crate) version: String,
    pub(crate) started_at: String,
    pub(crate) uptime_seconds: u64,
    pub(crate) public_url: String,
    pub(crate) database: DatabaseHealth,
    pub(crate) last_backup: Option<LastBackup>,
    pub(crate) keys: KeyHealth,
    pub(crate) rollback_journal: Option<JournalHealth>,
    /// The effective options; none outside of a server.
    pub(crate) configuration: Vec<SettingLine>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct DatabaseHealth {
    /// Of the file; of PostgreSQL, in words, how many nodes use it.
    pub(crate) path: String,
    /// With what is in its log.
    pub(crate) bytes: u64,
    pub(crate) schema_version: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LastBackup {
    pub(crate) at: String,
    pub(crate) file: String,
}

/// The key rings in short; `KeyList` has the rest.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct KeyHealth {
    pub(crate) file: String,
    /// Ids, the primary first.
    pub(crate) signing: Vec<String>,
    pub(crate) sealing: Vec<String>,
}

/// The rollback journal, and what it keeps locked.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct JournalHealth {
    pub(crate) file: String,
    /// The ids of workspaces whose tokens came back with an old copy of the database.
    pub(crate) locked: Vec<String>,
}

impl Action for ServerHealth {
    type Outcome = Health;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/server/health";
    const ACCESS: Access = Access::Administrator;

    async fn run(self, app: &App, _caller: &Caller) -> Result<Health, AppError> {
        let (schema_version, last_at, last_file) = app
            .database()
            .read(|snapshot| {
                Ok::<_, DatabaseError>((
                    meta::get(snapshot, meta::SCHEMA_VERSION)?,
                    meta::get(snapshot, meta::LAST_BACKUP_AT)?,
                    meta::get(snapshot, meta::LAST_BACKUP_FILE)?,
                ))
            })
            .await?;
        let last_at = last_at.and_then(|millis| millis.parse().ok());
        let (started_at, uptime) = app.started();
        let database = database(app, schema_version.unwrap_or_default()).await?;
        let ids = app.keys().ids();
        let names = |ids: Vec<_>| ids.iter().map(ToString::to_string).collect();
        Ok(Health {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: time::show(started_at),
            uptime_seconds: uptime.as_secs(),
            public_url: app.addresses().public_url().to_string(),
            database,
            last_backup: last_at.zip(last_file).map(|(at, file)| LastBackup {
                at: time::rfc3339(at),
                file,
            }),
            keys: KeyHealth {
                file: app.keys().file().path().display().to_string(),
                signing: names(ids.signing),
                sealing: names(ids.sealing),
            },
            rollback_journal: app.journal().map(|(path, guarded)| JournalHealth {
                file: path.display().to_string(),
                locked: guarded.locked().iter().map(ToString::to_string).collect(),
            }),
            configuration: app.settings().to_vec(),
        })
    }
}

async fn database(app: &App, schema_version: String) -> Result<DatabaseHealth, AppError> {
    let (path, bytes) = match app.keys().store() {
        Store::Postgres(store) => {
            let nodes = store.nodes().await.map_err(TokenError::from)?;
            let path = format!("PostgreSQL, used by {}", counted(nodes.len(), "node"));
            let bytes = app.database().read(meta::size).await?;
            (path, bytes.unsigned_abs())
        }
        Store::Sqlite(store) => {
            let path = store.path();
            let bytes = length(path) + length(&path.with_extension("db-wal"));
            (path.display().to_string(), bytes)
        }
    };
    Ok(DatabaseHealth {
        path,
        bytes,
        schema_version,
    })
}

/// Returns the length of a file; 0 if there is none.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
