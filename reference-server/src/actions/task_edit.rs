//! Changing the words of a task.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, TaskChanged, workspace_ref};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    error::AppError,
    tasks::{Edit, TaskId},
};

/// Changes a task's title or text; what is absent stays.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskEdit {
    pub(crate) workspace: String,
    pub(crate) task: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
}

impl Action for TaskEdit {
    type Outcome = TaskChanged;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tasks/{task}/edit";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        Some(Note::new("task.edit").about(&self.task))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<TaskChanged, AppError> {
        let task: TaskId = self.task.parse()?;
        let author = caller.author(workspace_ref::find_active(app, &self.workspace).await?.id);
        let edit = Edit {
            title: self.title,
            body: self.body,
        };
        let task = app.tasks().edit(author, &task, edit).await?;
        Ok(TaskChanged { task: task.card })
    }
}
