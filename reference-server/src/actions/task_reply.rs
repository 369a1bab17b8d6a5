//! Writing into a task's conversation, as a person.

use http::Method;
use serde::{Deserialize, Serialize};

use super::{Action, workspace_ref};
use crate::{
    app::App,
    error::AppError,
    tasks::{Author, MessageId, TaskId},
};

/// Adds a message to a task.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskReply {
    pub(crate) workspace: String,
    pub(crate) task: String,
    pub(crate) text: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TaskReplied {
    pub(crate) message: AddedMessage,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AddedMessage {
    pub(crate) id: MessageId,
}

impl Action for TaskReply {
    type Outcome = TaskReplied;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tasks/{task}/messages";

    async fn run(self, app: &App) -> Result<TaskReplied, AppError> {
        let task: TaskId = self.task.parse()?;
        let workspace = workspace_ref::find_active(app, &self.workspace).await?.id;
        let message = app
            .tasks()
            .reply(Author::Human(workspace), &task, self.text)
            .await?;
        Ok(TaskReplied {
            message: AddedMessage { id: message.id },
        })
    }
}
