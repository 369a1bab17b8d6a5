//! `getWorkspace`: what the workspace is for, and how many tasks it has.

use rmcp::schemars::JsonSchema;
use serde::Deserialize;

use super::{AgentTool, Call, Refusal};

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct GetWorkspace {}

impl AgentTool for GetWorkspace {
    const NAME: &'static str = "getWorkspace";
    const DESCRIPTION: &'static str =
        "Shows the workspace: its name, what it is for, and how many tasks are in each state.";
    const READ_ONLY: bool = true;

    async fn run(self, call: &Call<'_>) -> Result<String, Refusal> {
        let workspace = call.tasks.workspace(call.workspace()).await?;
        let statistics = call.tasks.statistics(call.workspace()).await?;
        Ok(format!(
            "Workspace: {}\nDescription: {}\n\nTask Statistics:\n- Not Started: {}\n- Ongoing: {}\n- Completed: {}\n- Blocked: {}\n- Rejected: {}",
            workspace.name,
            workspace.description,
            statistics.not_started,
            statistics.ongoing,
            statistics.completed,
            statistics.blocked,
            statistics.rejected,
        ))
    }
}
