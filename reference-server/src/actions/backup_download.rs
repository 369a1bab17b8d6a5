//! Downloading a backup, without a place for it on the server's machine.

use std::time::Duration;

use anyhow::bail;
use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{
    Method,
    header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE},
};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};

use super::{Access, Action, Answer, access::admit};
use crate::{app::App, audit::Note, backup::Download, caller::Caller, error::AppError, time};

/// Downloads a backup of everything but the keys, as `wst backup` writes it; one at a time.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupDownload {}

/// A backup on its way.
#[derive(Debug)]
pub(crate) struct BackupSent {
    name: String,
    length: u64,
    /// Comes as fast as it is taken: what is read ahead is a part or two.
    parts: mpsc::Receiver<Bytes>,
}

impl Action for BackupDownload {
    type Outcome = BackupSent;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/server/backup/download";
    const ACCESS: Access = Access::Administrator;

    fn note(&self) -> Option<Note> {
        Some(Note::new("backup.download"))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<BackupSent, AppError> {
        let turn = app.downloads().turn()?;
        // A connection of its own: those of the server have others to serve.
        let source = app.keys().store().connection();
        let source = source.map_err(anyhow::Error::from)?;
        let worker = app.clone();
        let download = {
            let _turn = app.jobs().backup.turn().await;
            let (_keys_stay, needed) = app.keys().needed(app.authority()).await?;
            let writing = move || {
                let job = &worker.jobs().backup;
                worker.downloads().write(&source, &needed, turn, job)
            };
            spawn_blocking(writing)
                .await
                .map_err(anyhow::Error::from)??
        };
        let (name, length) = (name(download.written.made_at), download.written.bytes);
        let (sender, parts) = mpsc::channel(1);
        let (app, caller) = (app.clone(), caller.clone());
        tokio::spawn(async move {
            if let Err(error) = send(download, sender, &app, caller).await {
                tracing::warn!("the download of a backup has ended early: {error:#}");
            }
        });
        Ok(BackupSent {
            name,
            length,
            parts,
        })
    }
}

/// Sends it part by part, for as long as somebody takes them who may have them.
async fn send(
    mut download: Download,
    sender: mpsc::Sender<Bytes>,
    app: &App,
    caller: Caller,
) -> anyhow::Result<()> {
    loop {
        let caller = app.as_of_now(caller.clone()).await?;
        admit(BackupDownload::ACCESS, None, &caller)?;
        let part;
        (download, part) = spawn_blocking(move || {
            let part = download.read()?;
            std::io::Result::Ok((download, part))
        })
        .await??;
        if part.is_empty() {
            return Ok(());
        }
        match timeout(PAUSE, sender.send(part)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => bail!("who downloads it has hung up"),
            Err(_) => bail!("who downloads it takes nothing any longer"),
        }
    }
}

fn name(made_at: i64) -> String {
    let made_at = time::rfc3339(made_at);
    let day = made_at.split('T').next().unwrap_or_default();
    format!("wst-{day}.wst")
}

impl Answer for BackupSent {
    fn into_answer(self) -> Response {
        let headers = [
            (CONTENT_TYPE, MEDIA_TYPE.to_owned()),
            (CONTENT_LENGTH, self.length.to_string()),
            (
                CONTENT_DISPOSITION,
                format!("attachment; filename=\"{}\"", self.name),
            ),
            (CACHE_CONTROL, "no-store".to_owned()),
        ];
        let parts = stream::try_unfold((self.parts, self.length), async |(mut parts, left)| {
            match parts.recv().await {
                Some(part) => {
                    let left = left.saturating_sub(part.len() as u64);
                    Ok(Some((part, (parts, left))))
                }
                None if left == 0 => Ok(None),
                // An end that looked like the end would leave half a backup that looks like one.
                None => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
            }
        });
        (headers, Body::from_stream(parts)).into_response()
    }

    /// Bytes have no schema.
    fn content(_: &mut SchemaGenerator) -> Value {
        json!({MEDIA_TYPE: {}})
    }
}

const MEDIA_TYPE: &str = "application/octet-stream";

/// How long a part may wait to be taken: until then the disk has no room for another.
const PAUSE: Duration = Duration::from_secs(60);
