//! Saying that refused uses of an old token were looked at: they are out of sight until there are more.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Access, Action, token_confirm_client::parse_address, token_create::parse_name, workspace_ref,
};
use crate::{
    activity::store::{self, Hidden, Tried},
    app::App,
    audit::Note,
    caller::Caller,
    error::{AppError, ErrorCode},
    live::Topic,
};

/// Hides the refused uses of an old token `name` from one place, as the list of them shows these, until it
/// is tried from there again. The list goes on to hold them.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectedUseHide {
    pub(crate) workspace: String,
    pub(crate) name: String,
    /// The generation that it was.
    pub(crate) generation: u64,
    /// There is none if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    pub(crate) agent: String,
    pub(crate) agent_version: String,
    /// How often it had been tried by what was looked at: what came later stays in sight.
    pub(crate) times: u64,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RejectedUseHidden {
    /// Whether it is out of sight: not if it was tried meanwhile.
    pub(crate) is_hidden: bool,
}

impl Action for RejectedUseHide {
    type Outcome = RejectedUseHidden;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens/{name}/rejected/hide";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        let address = self.address.as_deref().unwrap_or("anywhere");
        let detail = format!(
            "generation {}, tried {} times from {address}",
            self.generation, self.times
        );
        Some(
            Note::new("token.hide_rejected")
                .about(&self.name)
                .with_detail(detail),
        )
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<RejectedUseHidden, AppError> {
        let name = parse_name(&self.name)?;
        let tried = Tried {
            slot: name.to_string(),
            generation: self.generation,
            address: parse_address(self.address.as_deref())?,
            agent: self.agent,
            agent_version: self.agent_version,
        };
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        app.activity().flush(app.database()).await;
        let hidden = app
            .database()
            .write(move |transaction| store::hide_attempt(transaction, &id, &tried, self.times))
            .await?;
        let is_hidden = match hidden {
            Hidden::NotThere => {
                return Err(AppError::new(
                    ErrorCode::NotFound,
                    "there are no such refused uses: look at the list again",
                ));
            }
            Hidden::TriedAgain => false,
            Hidden::Until => true,
        };
        app.live().announce(Some(&id), Topic::Tokens);
        Ok(RejectedUseHidden { is_hidden })
    }
}
