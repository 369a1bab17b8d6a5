//! Sealing all tokens with the primary key, so that the keys before it can go.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tower_workspace_token::{
    authority::Rewrapped,
    error::{Error, ErrorKind},
    id::SlotKey,
};
use tower_workspace_token_sqlite::SqliteStore;

use super::{Access, Action};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    error::{AppError, ErrorCode},
    key_room::{name_slots, unavailable},
    text::counted,
};

/// Seals every live token with the primary key. The tokens themselves stay valid all along; if it is
/// interrupted, doing it again goes on.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRewrap {}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct KeysRewrapped {
    /// The key that they are sealed with now.
    pub(crate) primary: String,
    pub(crate) rewrapped: usize,
    pub(crate) already_current: usize,
}

impl Action for KeyRewrap {
    type Outcome = KeysRewrapped;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/keys/rewrap";
    const ACCESS: Access = Access::Administrator;

    fn note(&self) -> Option<Note> {
        Some(Note::new("key.rewrap"))
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<KeysRewrapped, AppError> {
        // The keys stay as they are meanwhile; tokens may come and go.
        let _keys = app.keys().turn().await;
        let job = &app.jobs().rewrap;
        let _turn = job.turn().await;
        let primary = app.authority().sealing_key_id();
        let slots = app.keys().store().live_slots().await.map_err(unavailable)?;
        // All of them: a row that is sealed with the right key may hold a token where a digest is to be.
        let mut waiting: Vec<_> = slots;
        let mut outcome = KeysRewrapped {
            primary: primary.to_string(),
            rewrapped: 0,
            already_current: 0,
        };
        job.begin(waiting.len() as u64);
        let (mut failed, mut locked) = (Vec::new(), Vec::new());
        let mut running = JoinSet::new();
        loop {
            // Side by side, so that one commit serves many.
            while running.len() < SIDE_BY_SIDE
                && let Some(slot) = waiting.pop()
            {
                running.spawn(rewrap(app.clone(), slot.key));
            }
            let Some(done) = running.join_next().await else {
                break;
            };
            let (slot, done) = done.map_err(anyhow::Error::from)?;
            job.add(1);
            match done {
                Ok(Rewrapped::Rewrapped) => outcome.rewrapped += 1,
                Ok(Rewrapped::AlreadyCurrent) => outcome.already_current += 1,
                Ok(Rewrapped::NoToken) => {}
                Err(error) if error.kind() == ErrorKind::Locked => locked.push(slot),
                Err(error) => {
                    tracing::error!(workspace = %slot.workspace, token = %slot.name, "cannot rewrap: {error}");
                    failed.push(slot);
                }
            }
        }
        if !failed.is_empty() {
            return Err(AppError::new(
                ErrorCode::Failed,
                format!(
                    "{} rewrapped, and {} could not be: {}; see the log, then run it again, or regenerate those",
                    counted(outcome.rewrapped, "token"),
                    failed.len(),
                    name_slots(&failed)
                ),
            ));
        }
        if !locked.is_empty() {
            return Err(AppError::new(
                ErrorCode::Conflict,
                format!(
                    "{} rewrapped, and {} could not be, since an old copy of the database was put back and their workspaces are locked: {}; unlock those, then run it again",
                    counted(outcome.rewrapped, "token"),
                    locked.len(),
                    name_slots(&locked)
                ),
            )
            .with_hint("`wst workspace unlock`"));
        }
        if let Some(store) = app.keys().store().sqlite().cloned() {
            tokio::task::spawn_blocking(move || forget_former_rows(&store))
                .await
                .map_err(anyhow::Error::from)??;
        }
        tracing::info!(rewrapped = outcome.rewrapped, key = %primary, "tokens rewrapped");
        Ok(outcome)
    }
}

/// Empties the log beside the database, where rows are as they were before.
fn forget_former_rows(store: &SqliteStore) -> anyhow::Result<()> {
    let connection = store.connection()?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

async fn rewrap(app: App, slot: SlotKey) -> (SlotKey, Result<Rewrapped, Error>) {
    let done = app.authority().rewrap(&slot.workspace, &slot.name).await;
    (slot, done)
}

/// Enough for large commits, and so few that a rotation that comes between does not wait long.
const SIDE_BY_SIDE: usize = 32;
