//! Writing into a task's conversation, as a person.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, File, workspace_ref};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    error::AppError,
    tasks::{MessageId, TaskId},
};

/// Adds a message to a task.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskReply {
    pub(crate) workspace: String,
    pub(crate) task: String,
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) attachments: Vec<File>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TaskReplied {
    pub(crate) message: AddedMessage,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AddedMessage {
    pub(crate) id: MessageId,
}

impl Action for TaskReply {
    type Outcome = TaskReplied;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tasks/{task}/messages";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        Some(Note::new("task.reply").about(&self.task))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<TaskReplied, AppError> {
        let task: TaskId = self.task.parse()?;
        let workspace = workspace_ref::find_active(app, &self.workspace).await?.id;
        let files = self.attachments.into_iter().map(File::into_new).collect();
        let author = caller.author(workspace);
        let message = app.tasks().reply(author, &task, self.text, files).await?;
        Ok(TaskReplied {
            message: AddedMessage { id: message.id },
        })
    }
}
