//! Reading a task with its conversation, and all that happened to it.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{
    app::App,
    caller::Caller,
    error::AppError,
    tasks::{
        Actor, Approval, Attachment, MAX_PAGE, Message, MessageId, PageRequest, Task, TaskId,
        TimelineEvent,
    },
};

/// Shows a task and what was said last about it, oldest first.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskShow {
    pub(crate) workspace: String,
    pub(crate) task: String,
    /// Only messages before this one: the `previous_cursor` of an earlier answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<String>,
    /// The most messages: 1 to 100, 100 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TaskShown {
    pub(crate) task: Task,
    pub(crate) messages: Vec<ShownMessage>,
    /// Leads to older messages, if there are any.
    pub(crate) previous_cursor: Option<MessageId>,
    /// All files, those of the messages included.
    pub(crate) attachments: Vec<Attachment>,
    /// The latest 100.
    pub(crate) approvals: Vec<Approval>,
    /// The latest 100.
    pub(crate) timeline: Vec<TimelineEvent>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ShownMessage {
    pub(crate) id: MessageId,
    pub(crate) author: Actor,
    pub(crate) author_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) author_user: Option<String>,
    pub(crate) text: String,
    pub(crate) created_at: String,
}

impl Action for TaskShow {
    type Outcome = TaskShown;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/tasks/{task}";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<TaskShown, AppError> {
        let id: TaskId = self.task.parse()?;
        let cursor = self.before.map(MessageId::try_from).transpose()?;
        let limit = self.limit.unwrap_or(MAX_PAGE);
        let workspace = workspace_ref::find(app, &self.workspace).await?.id;
        let page = PageRequest { cursor, limit };
        let thread = app.tasks().thread(&workspace, &id, page).await?;
        let messages = thread.messages.messages.into_iter();
        Ok(TaskShown {
            task: thread.task,
            messages: messages.map(ShownMessage::of).collect(),
            previous_cursor: thread.messages.next_cursor,
            attachments: thread.attachments,
            approvals: thread.approvals,
            timeline: thread.timeline,
        })
    }
}

impl ShownMessage {
    fn of(message: Message) -> Self {
        Self {
            id: message.id,
            author: message.author,
            author_name: message.author_name,
            author_user: message.author_user,
            text: message.text,
            created_at: message.created_at,
        }
    }
}
