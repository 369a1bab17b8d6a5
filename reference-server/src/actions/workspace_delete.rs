//! Deleting a workspace that was archived, with all that is in it.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    error::{AppError, ErrorCode},
    lifecycle,
    live::Topic,
    tasks::Protocol,
    workspaces,
};

/// Deletes an archived workspace, its tasks, messages and attachments. Its tokens never work again.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkspaceDelete {
    pub(crate) workspace: String,
    /// The name of the workspace, typed by whoever means it.
    pub(crate) confirm: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WorkspaceDeleted {}

impl Action for WorkspaceDelete {
    type Outcome = WorkspaceDeleted;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/delete";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        Some(Note::new("workspace.delete").about(&self.confirm))
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<WorkspaceDeleted, AppError> {
        // Alone: nobody takes it back, or gives it a token, meanwhile.
        let _alone = app.lifecycle().write().await;
        let workspace = workspace_ref::find(app, &self.workspace).await?;
        if self.confirm != workspace.name {
            return Err(AppError::invalid(
                "type the name of the workspace to delete it",
            ));
        }
        if !workspace.archived {
            return Err(not_archived());
        }
        let id = workspace.id;
        // Archiving may have been interrupted before it got to this.
        lifecycle::end_of_archived(app, app.authority(), &id).await?;
        let (protocols, live) = (app.protocols().clone(), app.live().clone());
        let nodes = app.nodes().clone();
        app.database()
            .write_then(
                move |transaction| {
                    // Another server may have taken it back since, and then it has tokens.
                    match workspaces::find(transaction, &id)?.filter(|found| !found.archived) {
                        None => {
                            workspaces::delete(transaction, &id)?;
                            Ok(nodes.tell_of_settings(transaction, &id)?)
                        }
                        Some(_) => Err(not_archived()),
                    }
                },
                move |()| {
                    protocols.set(&id, Protocol::Dual);
                    live.announce(Some(&id), Topic::Settings);
                },
            )
            .await?;
        tracing::info!(workspace = %id, "workspace deleted");
        Ok(WorkspaceDeleted {})
    }
}

fn not_archived() -> AppError {
    AppError::new(
        ErrorCode::Conflict,
        "archive the workspace first: it ends its tokens",
    )
}
