//! `reply`: adds a message to a task's conversation.

use rmcp::schemars::JsonSchema;
use serde::Deserialize;

use super::{AgentTool, Call, Refusal, attachment::AttachmentArgument};

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Reply {
    /// The id of the task, which a pushed message calls chat_id.
    chat_id: String,
    /// What to say.
    text: String,
    /// Files that come with it, at most 8.
    #[serde(default)]
    attachments: Vec<AttachmentArgument>,
}

impl AgentTool for Reply {
    const NAME: &'static str = "reply";
    const DESCRIPTION: &'static str =
        "Adds a message to the conversation of a task, for people to read.";
    const READ_ONLY: bool = false;

    async fn run(self, call: &Call<'_>) -> Result<String, Refusal> {
        let files = AttachmentArgument::decode_all(self.attachments)?;
        let task = self.chat_id.parse()?;
        call.tasks
            .reply(call.author(), &task, self.text, files)
            .await?;
        Ok("reply sent".to_owned())
    }
}
