//! Listing the tasks of a workspace.

use http::Method;
use serde::{Deserialize, Serialize};

use super::{Action, workspace_ref};
use crate::{
    app::App,
    error::AppError,
    tasks::{Actor, DEFAULT_PAGE, PageRequest, Status, Task, TaskFilter, TaskId},
};

/// Lists tasks, newest first, a page at a time.
#[derive(Debug, Serialize, Deserialize)]
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

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TaskLines {
    pub(crate) tasks: Vec<TaskLine>,
    pub(crate) next_cursor: Option<TaskId>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TaskLine {
    pub(crate) id: TaskId,
    pub(crate) title: String,
    pub(crate) status: Status,
    pub(crate) assignee: Actor,
    pub(crate) author: Actor,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
}

impl Action for TaskList {
    type Outcome = TaskLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/tasks";

    async fn run(self, app: &App) -> Result<TaskLines, AppError> {
        let workspace = workspace_ref::find(app, &self.workspace).await?.id;
        let cursor = self.cursor.map(TaskId::try_from).transpose()?;
        let limit = self.limit.unwrap_or(DEFAULT_PAGE);
        let filter = TaskFilter {
            status: self.status,
            page: PageRequest { cursor, limit },
        };
        let page = app.tasks().list(&workspace, filter).await?;
        Ok(TaskLines {
            tasks: page.tasks.into_iter().map(TaskLine::of).collect(),
            next_cursor: page.next_cursor,
        })
    }
}

impl TaskLine {
    pub(super) fn of(task: Task) -> Self {
        Self {
            id: task.id,
            title: task.title,
            status: task.status,
            assignee: task.assignee,
            author: task.author,
            created_at: task.created_at,
            updated_at: task.updated_at,
        }
    }
}
