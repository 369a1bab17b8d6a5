//! Moving a task within its column of the board.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    error::AppError,
    tasks::{Place, TaskId},
};

/// Moves a task right before or right after another one of the same state: one of the two is given.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskMove {
    pub(crate) workspace: String,
    pub(crate) task: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TaskMoved {}

impl Action for TaskMove {
    type Outcome = TaskMoved;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tasks/{task}/move";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        Some(Note::new("task.move").about(&self.task))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<TaskMoved, AppError> {
        let task: TaskId = self.task.parse()?;
        let place = match (self.before, self.after) {
            (Some(other), None) => Place::Before(other.parse()?),
            (None, Some(other)) => Place::After(other.parse()?),
            _ => {
                return Err(AppError::invalid(
                    "give the task that it goes before or the one that it goes after",
                ));
            }
        };
        let author = caller.author(workspace_ref::find_active(app, &self.workspace).await?.id);
        app.tasks().move_to(author, &task, place).await?;
        Ok(TaskMoved {})
    }
}
