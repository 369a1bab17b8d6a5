//! `downloadAttachment`: the bytes of a file, as base64; `getAttachment`: what it is, and what it holds.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rmcp::schemars::JsonSchema;
use serde::Deserialize;

use super::{AgentTool, Call, Refusal, attachment::describe};
use crate::tasks::AttachmentData;

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DownloadAttachment {
    /// The attachment, as getTask lists it.
    attachment_id: String,
    /// The task that it belongs to.
    task_id: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct GetAttachment {
    /// The attachment, as getTask lists it.
    attachment_id: String,
    /// The task that it belongs to.
    task_id: String,
}

impl AgentTool for DownloadAttachment {
    const NAME: &'static str = "downloadAttachment";
    const DESCRIPTION: &'static str =
        "Returns the bytes of an attachment of a task or its messages, as base64.";
    const READ_ONLY: bool = true;

    async fn run(self, call: &Call<'_>) -> Result<String, Refusal> {
        let found = find(call, &self.task_id, &self.attachment_id).await?;
        Ok(BASE64_STANDARD.encode(&found.data))
    }
}

impl AgentTool for GetAttachment {
    const NAME: &'static str = "getAttachment";
    const DESCRIPTION: &'static str = "Shows an attachment: its name and type, and its contents, as text if they are text and as base64 otherwise.";
    const READ_ONLY: bool = true;

    async fn run(self, call: &Call<'_>) -> Result<String, Refusal> {
        let found = find(call, &self.task_id, &self.attachment_id).await?;
        let head = describe(&found.attachment);
        Ok(match std::str::from_utf8(&found.data) {
            Ok(text) => format!("{head}\n\n{text}"),
            Err(_) => format!("{head}\n\n{}", BASE64_STANDARD.encode(&found.data)),
        })
    }
}

async fn find(call: &Call<'_>, task: &str, id: &str) -> Result<AttachmentData, Refusal> {
    let (task, id) = (task.parse()?, id.parse()?);
    let found = call.tasks.attachment(call.workspace(), &task, &id);
    Ok(found.await?)
}
