//! Writing a backup to a file on the server's disk.

use std::path::Path;

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use crate::{
    app::App,
    audit::Note,
    backup::{self, Target},
    caller::Caller,
    error::{AppError, ErrorCode},
    time,
};

/// Writes a backup of everything but the keys; nobody waits for it meanwhile.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupWrite {
    /// An absolute path, as the server's machine knows it.
    pub(crate) file: String,
    /// A file that is there may be replaced.
    #[serde(default)]
    pub(crate) force: bool,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BackupWritten {
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) made_at: String,
    pub(crate) schema_version: String,
    /// The keys that it needs, which are not in it.
    pub(crate) keys: Vec<NeededKey>,
    /// Where they are.
    pub(crate) key_file: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct NeededKey {
    /// `signing` or `sealing`.
    pub(crate) ring: String,
    pub(crate) id: String,
}

impl Action for BackupWrite {
    type Outcome = BackupWritten;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/server/backup";
    const ACCESS: Access = Access::Administrator;

    fn note(&self) -> Option<Note> {
        Some(Note::new("backup.write").about(&self.file))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<BackupWritten, AppError> {
        // A path on the server's disk is for whoever has the server's disk.
        if !matches!(caller, Caller::CommandLine) {
            return Err(AppError::new(
                ErrorCode::Forbidden,
                "backups are written on the server's machine: run `wst backup FILE` there",
            ));
        }
        let source = source(app)?;
        let target = Target::new(Path::new(&self.file), app.data_dir(), self.force)?;
        let worker = app.clone();
        let _turn = app.jobs().backup.turn().await;
        let (_keys_stay, needed) = app.keys().needed(app.authority()).await?;
        let written = tokio::task::spawn_blocking(move || {
            backup::write(&source, &target, &needed, &worker.jobs().backup)
        });
        let written = written.await.map_err(anyhow::Error::from)??;
        let (noted, file) = (written.clone(), self.file.clone());
        app.database()
            .write(move |transaction| noted.note(transaction, &file))
            .await?;
        tracing::info!(file = self.file, bytes = written.bytes, "backup written");
        let key = |(ring, id)| NeededKey { ring, id };
        Ok(BackupWritten {
            file: self.file,
            bytes: written.bytes,
            made_at: time::rfc3339(written.made_at),
            schema_version: written.schema_version,
            keys: written.keys.into_iter().map(key).collect(),
            key_file: app.keys().file().path().display().to_string(),
        })
    }
}

/// Opens a connection to the database that is to be copied, of its own: those of the server have others to serve.
pub(super) fn source(app: &App) -> Result<rusqlite::Connection, AppError> {
    let store = app.keys().store().sqlite().ok_or_else(|| {
        AppError::invalid(
            "`wst backup` copies a database in the data directory, and this one is PostgreSQL's: use `pg_dump`, and `wst key export` for the keys",
        )
    })?;
    Ok(store.connection().map_err(anyhow::Error::from)?)
}
