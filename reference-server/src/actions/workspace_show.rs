//! Showing a workspace: its settings and its numbers.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{
    app::App,
    caller::Caller,
    error::AppError,
    people::Role,
    tasks::{Protocol, Statistics, WorkspaceInfo},
};

/// Shows a workspace.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkspaceShow {
    pub(crate) workspace: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WorkspaceShown {
    pub(crate) workspace: ShownWorkspace,
    /// How many tasks are in each state.
    pub(crate) statistics: Statistics,
    /// How much waits for a person.
    pub(crate) needs_you: u64,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ShownWorkspace {
    pub(crate) id: String,
    pub(crate) name: String,
    /// What it is for, as agents are told by `getWorkspace`.
    pub(crate) description: String,
    pub(crate) protocol: Protocol,
    pub(crate) archived: bool,
    /// An old copy of its tokens was put back, so that none is accepted until an administrator unlocks it.
    pub(crate) locked: bool,
    pub(crate) created_at: String,
    pub(crate) mcp_url: String,
    /// What the caller may do there.
    pub(crate) role: Role,
}

impl Action for WorkspaceShow {
    type Outcome = WorkspaceShown;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<WorkspaceShown, AppError> {
        let found = workspace_ref::find(app, &self.workspace).await?;
        Ok(WorkspaceShown {
            statistics: app.tasks().statistics(&found.id).await?,
            needs_you: app.tasks().needs_count(&found.id).await?,
            workspace: ShownWorkspace::of(app, found, caller).await?,
        })
    }
}

impl ShownWorkspace {
    pub(super) async fn of(
        app: &App,
        workspace: WorkspaceInfo,
        caller: &Caller,
    ) -> Result<Self, AppError> {
        // Whoever gets here has one; the lesser if it was taken away meanwhile.
        let role = app.role(&workspace.id, caller).await?;
        Ok(Self {
            id: workspace.id.to_string(),
            mcp_url: app.addresses().mcp_url(&workspace.id),
            name: workspace.name,
            description: workspace.description,
            protocol: workspace.protocol,
            archived: workspace.archived,
            locked: app.is_locked(&workspace.id),
            created_at: workspace.created_at,
            role: role.unwrap_or(Role::Member),
        })
    }
}
