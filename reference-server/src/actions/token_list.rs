//! Listing the tokens of a workspace.

use http::Method;
use serde::{Deserialize, Serialize};
use tower_workspace_token::authority::{TokenState, TokenSummary};

use super::{Action, workspace_ref};
use crate::{app::App, error::AppError, time};

/// Lists the tokens of a workspace, revoked ones included.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenList {
    pub(crate) workspace: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TokenLines {
    pub(crate) tokens: Vec<TokenLine>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TokenLine {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) generation: u64,
    /// `active` or `revoked`.
    pub(crate) state: String,
    /// When this generation began, in RFC 3339.
    pub(crate) created_at: String,
    pub(crate) last_used_at: Option<String>,
}

impl Action for TokenList {
    type Outcome = TokenLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens";

    async fn run(self, app: &App) -> Result<TokenLines, AppError> {
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        let tokens = app.authority().list(&id).await?;
        Ok(TokenLines {
            tokens: tokens.iter().map(TokenLine::of).collect(),
        })
    }
}

impl TokenLine {
    fn of(token: &TokenSummary) -> Self {
        let state = match token.state {
            TokenState::Active => "active",
            TokenState::Revoked => "revoked",
        };
        Self {
            id: token.id.to_string(),
            name: token.name.to_string(),
            generation: token.generation.number(),
            state: state.to_owned(),
            created_at: time::show(token.changed_at),
            last_used_at: token.last_used_at.map(time::show),
        }
    }
}
