//! `updateTaskStatus`: tells how far a task is.

use rmcp::schemars::JsonSchema;
use serde::Deserialize;

use super::{AgentTool, Call, Refusal, STATES};

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UpdateTaskStatus {
    /// The task.
    task_id: String,
    /// Its new state: notstarted, ongoing, completed, blocked or rejected.
    #[schemars(extend("enum" = STATES))]
    status: String,
}

impl AgentTool for UpdateTaskStatus {
    const NAME: &'static str = "updateTaskStatus";
    const DESCRIPTION: &'static str = "Changes the state of a task.";
    const READ_ONLY: bool = false;

    async fn run(self, call: &Call<'_>) -> Result<String, Refusal> {
        let (task, status) = (self.task_id.parse()?, self.status.parse()?);
        let task = call
            .tasks
            .update_status(call.lease(), &task, status)
            .await?;
        Ok(format!(
            "task {} updated to status={}",
            task.id,
            task.status.as_str()
        ))
    }
}
