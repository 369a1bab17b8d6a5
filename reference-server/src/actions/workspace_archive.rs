//! Archiving a workspace: its tokens end, and it gets no new ones.

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
    time, workspaces,
};

/// Archives a workspace. Doing it twice does no harm.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkspaceArchive {
    pub(crate) workspace: String,
    /// The name of the workspace, where somebody had to type it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) confirm: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WorkspaceArchived {
    pub(crate) sessions_ended: usize,
    pub(crate) streams_severed: usize,
    /// It was archived before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) was_archived: bool,
}

impl Action for WorkspaceArchive {
    type Outcome = WorkspaceArchived;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/archive";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<WorkspaceArchived, AppError> {
        // Alone: who is given a token by this server would otherwise be refused it at the last moment.
        let _alone = app.lifecycle().write().await;
        let workspace = workspace_ref::find(app, &self.workspace).await?;
        let typed = self.confirm;
        if typed.is_some_and(|typed| typed != workspace.name) {
            return Err(AppError::invalid(
                "type the name of the workspace to archive it",
            ));
        }
        let id = workspace.id;
        app.refuse_if_locked(&id)?;
        // First the mark: if this is interrupted, the next start of the server goes on.
        app.database()
            .write(move |transaction| workspaces::archive(transaction, &id, time::now()))
            .await?;
        let authority = app.authority().with_actor(caller.name());
        let ended = lifecycle::end_of_archived(app, &authority, &id).await?;
        if !workspace.archived {
            // Here and not as the action's note: what was archived before is not archived again.
            let note = Note::new("workspace.archive");
            audit::record(app, caller, Some(id), note).await;
            app.live().announce(Some(&id), Topic::Settings);
            tracing::info!(workspace = %id, "workspace archived");
        }
        Ok(WorkspaceArchived {
            was_archived: workspace.archived,
            sessions_ended: ended.sessions,
            streams_severed: ended.streams,
        })
    }
}
