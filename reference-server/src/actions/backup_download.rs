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
use tower_workspace_token::clock::{Clock as _, SystemClock};

use super::{Access, Action, Answer, admit, backup_write::source};
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
        let turn = app.downloads().turn(caller.name())?;
        let source = source(app)?;
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

/// Sends it part by part, for as long as somebody takes them who may have them, and not too slowly.
async fn send(
    mut download: Download,
    sender: mpsc::Sender<Bytes>,
    app: &App,
    caller: Caller,
) -> anyhow::Result<()> {
    let began = SystemClock.moment();
    let mut taken = 0;
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
        let length = part.len() as u64;
        let patience = patience(SystemClock.moment().saturating_since(began), taken);
        match timeout(patience, sender.send(part)).await {
            Ok(Ok(())) => taken += length,
            Ok(Err(_)) => bail!("who downloads it has hung up"),
            Err(_) => bail!("who downloads it takes it too slowly, or not any longer"),
        }
    }
}

/// Returns how long the next part may wait to be taken, after so long and so many bytes: nobody keeps others
/// from downloading, and the room on the disk, for longer than a slow line needs.
fn patience(waited: Duration, taken: u64) -> Duration {
    let due = START + Duration::from_secs(taken / LEAST_RATE);
    due.saturating_sub(waited).min(PAUSE)
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

/// How long a part may wait to be taken, however many were taken before.
const PAUSE: Duration = Duration::from_secs(60);
/// How many bytes are taken in a second at least, on the whole.
const LEAST_RATE: u64 = 64 * 1024;
/// How long anybody has before that counts.
const START: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::PART;

    /// Has each part taken after `pause`; returns how many are until it is ended, up to `parts`.
    fn taken(parts: u64, pause: Duration) -> u64 {
        let is_in_time = |part: &u64| {
            let waited = pause * u32::try_from(*part).unwrap();
            pause < patience(waited, part * PART as u64)
        };
        (0..parts).take_while(is_in_time).count() as u64
    }

    #[test]
    fn who_takes_little_at_a_time_is_ended_and_a_slow_line_is_not() {
        const GIGABYTE: u64 = 1024 * 1024 * 1024 / PART as u64;
        assert!(taken(GIGABYTE, Duration::from_secs(59)) < 3);
        assert!(taken(GIGABYTE, Duration::from_secs(2)) < 100);
        assert_eq!(taken(GIGABYTE, Duration::from_millis(900)), GIGABYTE);
        // Nobody is quick at first and then holds it for hours.
        let quick = patience(Duration::from_secs(1), u64::MAX);
        assert_eq!(quick, PAUSE);
    }
}
