//! Listing the workspaces.

use http::Method;
use serde::{Deserialize, Serialize};

use super::Action;
use crate::{app::App, error::AppError, workspaces};

/// Lists all workspaces, oldest first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkspaceList {}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkspaceLines {
    pub(crate) workspaces: Vec<WorkspaceLine>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkspaceLine {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) archived: bool,
}

impl Action for WorkspaceList {
    type Outcome = WorkspaceLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces";

    async fn run(self, app: &App) -> Result<WorkspaceLines, AppError> {
        let all = app
            .database()
            .read(|snapshot| workspaces::list(snapshot))
            .await?;
        let line = |workspace: crate::tasks::WorkspaceInfo| WorkspaceLine {
            id: workspace.id.to_string(),
            name: workspace.name,
            archived: workspace.archived,
        };
        Ok(WorkspaceLines {
            workspaces: all.into_iter().map(line).collect(),
        })
    }
}
