//! Revoking a token: it ends without a successor.

use http::Method;
use serde::{Deserialize, Serialize};

use super::{Action, token_create::parse_name, token_slot, workspace_ref};
use crate::{app::App, error::AppError};

/// Ends the live token `name` of a workspace.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRevoke {
    pub(crate) workspace: String,
    pub(crate) name: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TokenRevoked {
    pub(crate) generation: u64,
    pub(crate) sessions_ended: usize,
    pub(crate) streams_severed: usize,
}

impl Action for TokenRevoke {
    type Outcome = TokenRevoked;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens/{name}/revoke";

    async fn run(self, app: &App) -> Result<TokenRevoked, AppError> {
        let name = parse_name(&self.name)?;
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        let receipt = app
            .authority()
            .revoke(&id, &name)
            .await
            .map_err(token_slot::explain)?;
        tracing::info!(workspace = %id, token = %name, "token revoked");
        Ok(TokenRevoked {
            generation: receipt.generation.number(),
            sessions_ended: receipt.ended.sessions,
            streams_severed: receipt.ended.streams,
        })
    }
}
