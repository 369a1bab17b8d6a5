//! `getNextTask`: the name that older clients know `getTask` without an id by.

use rmcp::schemars::JsonSchema;
use serde::Deserialize;

use super::{AgentTool, Call, Refusal, get_task};

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct GetNextTask {
    /// How long to wait if there is no task: 0 to 55 seconds, 0 by default.
    #[serde(default)]
    #[schemars(range(min = 0, max = 55))]
    wait_seconds: u64,
}

impl AgentTool for GetNextTask {
    const NAME: &'static str = "getNextTask";
    const DESCRIPTION: &'static str =
        "Takes the next task that is assigned to agents: the same as getTask without taskId.";
    const READ_ONLY: bool = false;

    async fn run(self, call: &Call<'_>) -> Result<String, Refusal> {
        get_task::take_next(call, get_task::wait(self.wait_seconds)?).await
    }
}
