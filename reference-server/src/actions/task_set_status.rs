//! Changing the state of a task, as a person.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    error::AppError,
    tasks::{Status, TaskCard, TaskId},
};

/// Sets the state of a task.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskSetStatus {
    pub(crate) workspace: String,
    pub(crate) task: String,
    pub(crate) status: Status,
}

/// A task as it is after a change.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TaskChanged {
    pub(crate) task: TaskCard,
}

impl Action for TaskSetStatus {
    type Outcome = TaskChanged;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tasks/{task}/status";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        let note = Note::new("task.status").about(&self.task);
        Some(note.with_detail(self.status.as_str()))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<TaskChanged, AppError> {
        let task: TaskId = self.task.parse()?;
        let author = caller.author(workspace_ref::find_active(app, &self.workspace).await?.id);
        let task = app.tasks().set_status(author, &task, self.status).await?;
        Ok(TaskChanged { task: task.card })
    }
}
