//! Regenerating a token: the old one is dead when this returns.

use http::Method;
use serde::{Deserialize, Serialize};

use super::{Action, Secret, token_create::parse_name, token_slot, workspace_ref};
use crate::{app::App, error::AppError};

/// Replaces the live token `name` of a workspace by its next generation.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRotate {
    pub(crate) workspace: String,
    pub(crate) name: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TokenRotated {
    pub(crate) secret: Secret,
    pub(crate) generation: u64,
    pub(crate) sessions_ended: usize,
    pub(crate) streams_severed: usize,
}

impl Action for TokenRotate {
    type Outcome = TokenRotated;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens/{name}/rotate";

    async fn run(self, app: &App) -> Result<TokenRotated, AppError> {
        let name = parse_name(&self.name)?;
        let _not_archived_meanwhile = app.lifecycle().read().await;
        let id = workspace_ref::find_active(app, &self.workspace).await?.id;
        let receipt = app
            .authority()
            .rotate(&id, &name)
            .await
            .map_err(token_slot::explain)?;
        let (generation, ended) = (receipt.token.generation(), receipt.ended);
        tracing::info!(
            workspace = %id, token = %name, %generation,
            sessions = ended.sessions, streams = ended.streams, calls = ended.calls,
            left_behind = ended.left_behind, elapsed = ?ended.elapsed,
            "token regenerated"
        );
        Ok(TokenRotated {
            secret: Secret::of(&receipt.token),
            generation: generation.number(),
            sessions_ended: ended.sessions,
            streams_severed: ended.streams,
        })
    }
}
