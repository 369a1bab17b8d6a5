//! `createTask`: hands work to a person or an agent.

use rmcp::schemars::JsonSchema;
use serde::Deserialize;

use super::{AgentTool, Call, Refusal, attachment::AttachmentArgument};
use crate::tasks::{Actor, NewTask};

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CreateTask {
    /// What it is about, in one line of at most 200 characters.
    title: String,
    /// What is to be done.
    body: String,
    /// Who is to do it: agent (the default) or human.
    #[serde(default)]
    #[schemars(with = "String", extend("enum" = ["agent", "human"]))]
    assignee: Option<String>,
    /// Files that come with it, at most 8.
    #[serde(default)]
    attachments: Vec<AttachmentArgument>,
}

impl AgentTool for CreateTask {
    const NAME: &'static str = "createTask";
    const DESCRIPTION: &'static str = "Creates a task for a person or an agent of the workspace.";
    const READ_ONLY: bool = false;

    async fn run(self, call: &Call<'_>) -> Result<String, Refusal> {
        let files = AttachmentArgument::decode_all(self.attachments)?;
        let assignee = self.assignee.as_deref().map(str::parse::<Actor>);
        let task = NewTask {
            title: self.title,
            body: self.body,
            assignee: assignee.transpose()?.unwrap_or_default(),
        };
        let task = call.tasks.create(call.author(), task, files).await?;
        Ok(format!("task created with id={}", task.id))
    }
}
