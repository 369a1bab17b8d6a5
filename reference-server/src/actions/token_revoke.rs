//! Revoking a token: it ends without a successor.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::{
    error::ErrorKind,
    id::{Generation, SlotKey},
};

use super::{
    Access, Action, Reason,
    token_create::parse_name,
    token_slot::{self, Counted},
    workspace_ref,
};
use crate::{app::App, audit::Note, caller::Caller, error::AppError, live::Topic, replacements};

/// Ends the live token `name` of a workspace.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRevoke {
    pub(crate) workspace: String,
    pub(crate) name: String,
    /// Why; kept in the token's history and in the audit list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Reason>,
    /// The generation that is to end: if it is another one by now, nothing is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TokenRevoked {
    pub(crate) generation: u64,
    pub(crate) sessions_ended: usize,
    pub(crate) streams_severed: usize,
}

impl Action for TokenRevoke {
    type Outcome = TokenRevoked;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens/{name}/revoke";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        let reason = self.reason.map_or("", Reason::words);
        Some(
            Note::new("token.revoke")
                .about(&self.name)
                .with_detail(reason),
        )
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<TokenRevoked, AppError> {
        let name = parse_name(&self.name)?;
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        let counted = Counted::of(app, &id, &name).await?;
        let authority = app.authority_of(caller, self.reason);
        let receipt = match self.generation {
            None => authority.revoke(&id, &name).await,
            Some(meant) => {
                let meant = Generation::from_number(meant).ok_or_else(token_slot::out_of_date)?;
                authority.revoke_generation(&id, &name, meant).await
            }
        };
        let receipt = receipt.map_err(|error| match (error.kind(), self.generation) {
            (ErrorKind::Conflict, Some(_)) => token_slot::out_of_date(),
            _ => token_slot::explain(error),
        })?;
        // A later token of this name may be another machine's.
        app.tasks().remove_rules_of(&id, &name).await?;
        let key = SlotKey::new(id, name);
        app.activity().superseded(&key, true, &receipt.ended);
        if let Some(counted) = counted {
            counted.keep(app).await;
        }
        app.database()
            .write(move |transaction| replacements::end(transaction, &id, name.as_str()))
            .await?;
        app.live().announce(Some(&id), Topic::Tokens);
        tracing::info!(workspace = %id, token = %name, "token revoked");
        Ok(TokenRevoked {
            generation: receipt.generation.number(),
            sessions_ended: receipt.ended.sessions,
            streams_severed: receipt.ended.streams,
        })
    }
}
