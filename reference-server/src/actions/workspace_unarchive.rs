//! Taking an archived workspace back.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{
    app::App,
    audit::{self, Note},
    caller::Caller,
    error::AppError,
    lifecycle,
    live::Topic,
    workspaces,
};

/// Takes an archived workspace back among the others. Its tokens stay dead: it needs new ones.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkspaceUnarchive {
    pub(crate) workspace: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WorkspaceUnarchived {
    /// It was not archived.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) was_live: bool,
}

impl Action for WorkspaceUnarchive {
    type Outcome = WorkspaceUnarchived;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/unarchive";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<WorkspaceUnarchived, AppError> {
        let _alone = app.lifecycle().write().await;
        let workspace = workspace_ref::find(app, &self.workspace).await?;
        if !workspace.archived {
            return Ok(WorkspaceUnarchived { was_live: true });
        }
        let id = workspace.id;
        // An interrupted archiving may have left tokens alive that nobody expects any more.
        lifecycle::end_of_archived(app, app.authority(), &id).await?;
        let unarchiving = app
            .database()
            .write(move |transaction| workspaces::unarchive(transaction, &id));
        if !unarchiving.await? {
            // Another server has deleted it meanwhile.
            return Err(workspace_ref::not_found());
        }
        // Here and not as the action's note: what was not archived is not taken back.
        audit::record(app, caller, Some(id), Note::new("workspace.unarchive")).await;
        app.live().announce(Some(&id), Topic::Settings);
        tracing::info!(workspace = %id, "workspace taken back");
        Ok(WorkspaceUnarchived { was_live: false })
    }
}
