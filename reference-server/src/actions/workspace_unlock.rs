//! Unlocking a workspace whose tokens came back with an old copy of the database.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::{
    clock::{Clock as _, SystemClock},
    error::Error,
};

use super::{Access, Action, workspace_ref};
use crate::{
    app::App,
    audit::{self, Note},
    caller::Caller,
    error::{AppError, ErrorCode},
    live::Topic,
};

/// Unlocks a workspace that the rollback journal keeps locked. The tokens that came back end; put the right
/// database back instead, and they go on.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkspaceUnlock {
    /// The workspace's id, or its name. A matter of the server's, whoever is in the workspace.
    pub(crate) id: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WorkspaceUnlocked {
    /// How many slots were older than the journal says: their tokens have ended.
    pub(crate) tokens_ended: usize,
    /// It was not locked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) was_unlocked: bool,
}

impl Action for WorkspaceUnlock {
    type Outcome = WorkspaceUnlocked;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/server/locked/{id}/unlock";
    const ACCESS: Access = Access::Administrator;

    async fn run(self, app: &App, caller: &Caller) -> Result<WorkspaceUnlocked, AppError> {
        let _alone = app.lifecycle().write().await;
        // The old copy may not know the workspace itself.
        let locked = self.id.parse().ok().filter(|id| app.is_locked(id));
        let id = match locked {
            Some(id) => id,
            None => {
                workspace_ref::find(app, &self.id)
                    .await
                    .map_err(not_known)?
                    .id
            }
        };
        let journal = app.journal().filter(|_| app.is_locked(&id));
        let Some((_, guarded)) = journal else {
            // It may have come this far before, and failed below.
            app.finish_what_was_begun(&id).await?;
            return Ok(WorkspaceUnlocked {
                tokens_ended: 0,
                was_unlocked: true,
            });
        };
        let ended = guarded
            .unlock(&id, SystemClock.now(), Some(caller.name()))
            .await
            .map_err(Error::from)?;
        app.finish_what_was_begun(&id).await?;
        // Here and not as the action's note: what was not locked is not unlocked.
        audit::record(app, caller, Some(id), Note::new("workspace.unlock")).await;
        app.live().announce(Some(&id), Topic::Settings);
        tracing::warn!(workspace = %id, ended, "workspace unlocked");
        Ok(WorkspaceUnlocked {
            tokens_ended: ended,
            was_unlocked: false,
        })
    }
}

fn not_known(error: AppError) -> AppError {
    match error.code() {
        ErrorCode::NotFound => AppError::new(
            ErrorCode::NotFound,
            "no workspace is called so, and none of this id is locked",
        ),
        _ => error,
    }
}
