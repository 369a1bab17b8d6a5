//! Taking the offer of a workspace back, or declining it.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    error::{AppError, ErrorCode},
    live::Topic,
    people::{Role, transfers},
    time,
};

/// Takes the offer back: for owners, and for whom it is offered to.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferCancel {
    pub(crate) workspace: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TransferCancelled {}

impl Action for TransferCancel {
    type Outcome = TransferCancelled;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/transfer/cancel";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        Some(Note::new("transfer.cancel"))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<TransferCancelled, AppError> {
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        let is_owner = app.role(&id, caller).await? == Some(Role::Owner);
        let user = caller.user().cloned();
        app.database()
            .write(move |transaction| {
                let transfer = transfers::find(transaction, &id, time::now())?;
                match transfer.filter(|transfer| is_owner || Some(&transfer.to) == user.as_ref()) {
                    Some(_) => Ok(transfers::remove(transaction, &id)?),
                    None => Err(AppError::new(
                        ErrorCode::Conflict,
                        "the workspace is not offered to you: there is nothing to take back",
                    )),
                }
            })
            .await?;
        app.live().announce(Some(&id), Topic::Settings);
        Ok(TransferCancelled {})
    }
}
