//! Adding a task, as a person.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, File, workspace_ref};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    error::AppError,
    tasks::{Actor, NewTask, TaskId},
};

/// Adds a task to a workspace; for an agent, if nothing else is said.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskAdd {
    pub(crate) workspace: String,
    pub(crate) title: String,
    pub(crate) body: String,
    #[serde(default)]
    pub(crate) assignee: Actor,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) attachments: Vec<File>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TaskAdded {
    pub(crate) task: AddedTask,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AddedTask {
    pub(crate) id: TaskId,
}

impl Action for TaskAdd {
    type Outcome = TaskAdded;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tasks";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        Some(Note::new("task.create").about(&self.title))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<TaskAdded, AppError> {
        let workspace = workspace_ref::find_active(app, &self.workspace).await?.id;
        let task = NewTask {
            title: self.title,
            body: self.body,
            assignee: self.assignee,
        };
        let files = self.attachments.into_iter().map(File::into_new).collect();
        let author = caller.author(workspace);
        let task = app.tasks().create(author, task, files).await?;
        Ok(TaskAdded {
            task: AddedTask { id: task.card.id },
        })
    }
}
