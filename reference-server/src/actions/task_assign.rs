//! Giving a task to agents or to people.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, TaskChanged, workspace_ref};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    error::AppError,
    tasks::{Actor, TaskId},
};

/// Gives a task to agents or to people.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskAssign {
    pub(crate) workspace: String,
    pub(crate) task: String,
    pub(crate) assignee: Actor,
}

impl Action for TaskAssign {
    type Outcome = TaskChanged;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tasks/{task}/assign";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        let note = Note::new("task.assign").about(&self.task);
        Some(note.with_detail(self.assignee.as_str()))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<TaskChanged, AppError> {
        let task: TaskId = self.task.parse()?;
        let author = caller.author(workspace_ref::find_active(app, &self.workspace).await?.id);
        let task = app.tasks().assign(author, &task, self.assignee).await?;
        Ok(TaskChanged { task: task.card })
    }
}
