//! Creating another token for a workspace.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::{id::TokenName, token};

use super::{Access, Action, Secret, token_slot, workspace_ref};
use crate::{
    app::App, audit::Note, caller::Caller, error::AppError, lifecycle, live::Topic,
    people::sightings,
};

/// Creates the token `name` of a workspace, which must not have a live one of that name.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenCreate {
    pub(crate) workspace: String,
    pub(crate) name: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TokenCreated {
    pub(crate) token: IssuedToken,
    pub(crate) secret: Secret,
    pub(crate) mcp_url: String,
}

/// What is told of a token beside its secret.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct IssuedToken {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) generation: u64,
}

impl Action for TokenCreate {
    type Outcome = TokenCreated;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        Some(Note::new("token.create").about(&self.name))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<TokenCreated, AppError> {
        let name = parse_name(&self.name)?;
        let id = workspace_ref::find_active(app, &self.workspace).await?.id;
        let authority = app.authority_of(caller, None);
        let issuing = async {
            let issued = authority.issue(&id, &name).await;
            issued.map_err(token_slot::explain)
        };
        let issued = lifecycle::give(app, caller, &id, issuing).await?;
        sightings::note_shown(app, caller, &id, &issued).await;
        app.live().announce(Some(&id), Topic::Tokens);
        tracing::info!(workspace = %id, token = %name, "token created");
        Ok(TokenCreated {
            token: IssuedToken::of(&issued),
            secret: Secret::of(&issued),
            mcp_url: app.addresses().mcp_url(&id),
        })
    }
}

impl IssuedToken {
    pub(super) fn of(token: &token::IssuedToken) -> Self {
        Self {
            name: token.name().to_string(),
            id: token.id().to_string(),
            generation: token.generation().number(),
        }
    }
}

pub(super) fn parse_name(name: &str) -> Result<TokenName, AppError> {
    name.parse()
        .map_err(|error| AppError::invalid(format!("not a token's name: {error}")))
}
