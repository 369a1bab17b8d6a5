//! Listing the tasks of a workspace.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{
    app::App,
    caller::Caller,
    error::AppError,
    tasks::{DEFAULT_PAGE, PageRequest, Status, TaskCard, TaskFilter, TaskId},
};

/// Lists tasks, newest first, a page at a time.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskList {
    pub(crate) workspace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<Status>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TaskLines {
    pub(crate) tasks: Vec<TaskCard>,
    pub(crate) next_cursor: Option<TaskId>,
}

impl Action for TaskList {
    type Outcome = TaskLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/tasks";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<TaskLines, AppError> {
        let workspace = workspace_ref::find(app, &self.workspace).await?.id;
        let cursor = self.cursor.map(TaskId::try_from).transpose()?;
        let limit = self.limit.unwrap_or(DEFAULT_PAGE);
        let filter = TaskFilter {
            status: self.status,
            page: PageRequest { cursor, limit },
        };
        let page = app.tasks().list(&workspace, filter).await?;
        Ok(TaskLines {
            tasks: page.tasks,
            next_cursor: page.next_cursor,
        })
    }
}
