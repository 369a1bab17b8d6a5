//! Reading a task with all of its conversation.

use http::Method;
use serde::{Deserialize, Serialize};
use tower_workspace_token::id::WorkspaceId;

use super::{Action, TaskLine, workspace_ref};
use crate::{
    app::App,
    error::AppError,
    tasks::{Actor, MAX_PAGE, Message, MessageId, PageRequest, TaskId},
};

/// Shows a task and what was said about it, oldest first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskShow {
    pub(crate) workspace: String,
    pub(crate) task: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TaskShown {
    pub(crate) task: ShownTask,
    pub(crate) messages: Vec<ShownMessage>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShownTask {
    #[serde(flatten)]
    pub(crate) line: TaskLine,
    pub(crate) body: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ShownMessage {
    pub(crate) id: MessageId,
    pub(crate) author: Actor,
    pub(crate) text: String,
    pub(crate) created_at: String,
}

impl Action for TaskShow {
    type Outcome = TaskShown;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/tasks/{task}";

    async fn run(self, app: &App) -> Result<TaskShown, AppError> {
        let id: TaskId = self.task.parse()?;
        let workspace = workspace_ref::find(app, &self.workspace).await?.id;
        let mut task = app.tasks().get(&workspace, &id).await?;
        let messages = conversation(app, &workspace, &id).await?;
        let body = std::mem::take(&mut task.body);
        Ok(TaskShown {
            task: ShownTask {
                line: TaskLine::of(task),
                body,
            },
            messages,
        })
    }
}

/// Returns all messages of a task, page by page.
async fn conversation(
    app: &App,
    workspace: &WorkspaceId,
    task: &TaskId,
) -> Result<Vec<ShownMessage>, AppError> {
    let mut messages = Vec::new();
    let mut cursor = None;
    loop {
        let limit = MAX_PAGE;
        let request = PageRequest { cursor, limit };
        let page = app.tasks().conversation(workspace, task, request).await?;
        messages.extend(page.messages.into_iter().map(ShownMessage::of));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(messages);
        }
    }
}

impl ShownMessage {
    fn of(message: Message) -> Self {
        Self {
            id: message.id,
            author: message.author,
            text: message.text,
            created_at: message.created_at,
        }
    }
}
