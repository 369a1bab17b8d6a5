//! `reply`: adds a message to a task's conversation.

use rmcp::schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{AgentTool, Call, Refusal};

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Reply {
    /// The id of the task, which a pushed message calls chat_id.
    chat_id: String,
    /// What to say.
    text: String,
    /// Not supported, and so not in the schema; clients of other servers may send an empty list.
    #[serde(default)]
    #[schemars(skip)]
    attachments: Vec<Value>,
}

impl AgentTool for Reply {
    const NAME: &'static str = "reply";
    const DESCRIPTION: &'static str =
        "Adds a message to the conversation of a task, for people to read.";
    const READ_ONLY: bool = false;

    async fn run(self, call: &Call<'_>) -> Result<String, Refusal> {
        if !self.attachments.is_empty() {
            return Err(Refusal::attachments());
        }
        let task = self.chat_id.parse()?;
        call.tasks.reply(call.author(), &task, self.text).await?;
        Ok("reply sent".to_owned())
    }
}
