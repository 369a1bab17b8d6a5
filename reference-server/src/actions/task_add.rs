//! Adding a task, as a person.

use http::Method;
use serde::{Deserialize, Serialize};

use super::{Action, workspace_ref};
use crate::{
    app::App,
    error::AppError,
    tasks::{Actor, Author, NewTask, TaskId},
};

/// Adds a task to a workspace; for an agent, if nothing else is said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskAdd {
    pub(crate) workspace: String,
    pub(crate) title: String,
    pub(crate) body: String,
    #[serde(default)]
    pub(crate) assignee: Actor,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TaskAdded {
    pub(crate) task: AddedTask,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AddedTask {
    pub(crate) id: TaskId,
}

impl Action for TaskAdd {
    type Outcome = TaskAdded;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tasks";

    async fn run(self, app: &App) -> Result<TaskAdded, AppError> {
        let workspace = workspace_ref::find_active(app, &self.workspace).await?.id;
        let task = NewTask {
            title: self.title,
            body: self.body,
            assignee: self.assignee,
        };
        let task = app.tasks().create(Author::Human(workspace), task).await?;
        Ok(TaskAdded {
            task: AddedTask { id: task.id },
        })
    }
}
