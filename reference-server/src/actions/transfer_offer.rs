//! Offering a workspace to one of its members.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, TransferLine, user_ref, workspace_ref};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    error::{AppError, ErrorCode},
    live::Topic,
    people::{members, transfers},
    time,
};

/// Offers a workspace to `user`, a member, who owns it once they accept. The offer holds a week, in place
/// of any offer before.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferOffer {
    pub(crate) workspace: String,
    /// An id or a name.
    pub(crate) user: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TransferOffered {
    pub(crate) transfer: TransferLine,
}

impl Action for TransferOffer {
    type Outcome = TransferOffered;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/transfer";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        Some(Note::new("transfer.offer").about(&self.user))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<TransferOffered, AppError> {
        let by = caller.person()?.user.id.clone();
        let id = workspace_ref::find_active(app, &self.workspace).await?.id;
        let transfer = app
            .database()
            .write(move |transaction| {
                let to = user_ref::find(transaction, &self.user)?;
                if to.id == by {
                    return Err(AppError::invalid("offer it to somebody else"));
                }
                if to.is_disabled || members::role(transaction, &id, &to.id)?.is_none() {
                    return Err(AppError::new(
                        ErrorCode::Conflict,
                        "they are no member of the workspace: add them first",
                    ));
                }
                let now = time::now();
                if !transfers::offer(transaction, &id, &by, &to.id, now)? {
                    return Err(AppError::new(
                        ErrorCode::Conflict,
                        "the workspace is changing hands right now: try again in a moment",
                    ));
                }
                transfers::find(transaction, &id, now)?
                    .map(TransferLine::of)
                    .ok_or_else(|| anyhow::anyhow!("the offer is not there").into())
            })
            .await?;
        app.live().announce(Some(&id), Topic::Settings);
        Ok(TransferOffered { transfer })
    }
}
