//! Sealing all tokens with the primary key, so that the keys before it can go.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tower_workspace_token::{authority::Rewrapped, error::Error, id::SlotKey};

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
        let (current, mut waiting): (Vec<_>, Vec<_>) = slots
            .into_iter()
            .partition(|slot| slot.sealed_with == Some(primary));
        let mut outcome = KeysRewrapped {
            primary: primary.to_string(),
            rewrapped: 0,
            already_current: current.len(),
        };
        job.begin(waiting.len() as u64);
        let mut failed = Vec::new();
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
        tracing::info!(rewrapped = outcome.rewrapped, key = %primary, "tokens rewrapped");
        Ok(outcome)
    }
}

async fn rewrap(app: App, slot: SlotKey) -> (SlotKey, Result<Rewrapped, Error>) {
    let done = app.authority().rewrap(&slot.workspace, &slot.name).await;
    (slot, done)
}

/// Enough for large commits, and so few that a rotation that comes between does not wait long.
const SIDE_BY_SIDE: usize = 32;
