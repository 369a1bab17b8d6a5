//! `listTasks`: a page of the workspace's tasks.

use std::fmt::Write as _;

use rmcp::schemars::JsonSchema;
use serde::Deserialize;

use super::{AgentTool, Call, Refusal, STATES};
use crate::tasks::{DEFAULT_PAGE, PageRequest, TaskFilter};

#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ListTasks {
    /// Only tasks of this state: notstarted, ongoing, completed, blocked or rejected.
    #[serde(default)]
    #[schemars(with = "String", extend("enum" = STATES))]
    status: Option<String>,
    /// Where the page begins: the `Next cursor` of the page before.
    #[serde(default)]
    #[schemars(with = "String")]
    cursor: Option<String>,
    /// The most tasks to show: 1 to 100, 20 by default.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 100))]
    limit: u32,
}

impl AgentTool for ListTasks {
    const NAME: &'static str = "listTasks";
    const DESCRIPTION: &'static str =
        "Lists the workspace's tasks, newest first, without taking any.";
    const READ_ONLY: bool = true;

    async fn run(self, call: &Call<'_>) -> Result<String, Refusal> {
        let filter = TaskFilter {
            status: self.status.as_deref().map(str::parse).transpose()?,
            page: PageRequest {
                cursor: self.cursor.as_deref().map(str::parse).transpose()?,
                limit: self.limit,
            },
        };
        let page = call.tasks.list(call.workspace(), filter).await?;
        if page.tasks.is_empty() {
            return Ok("no tasks exist".to_owned());
        }
        let mut text = "Tasks, newest first:".to_owned();
        for task in &page.tasks {
            let (status, assignee) = (task.status.as_str(), task.assignee.as_str());
            // Writing to a `String` cannot fail.
            let _ = write!(
                text,
                "\n\nID: {}\nTitle: {}\nStatus: {status}\nAssignee: {assignee}",
                task.id, task.title,
            );
        }
        if let Some(cursor) = page.next_cursor {
            let _ = write!(text, "\n\nNext cursor: {cursor}");
        }
        Ok(text)
    }
}

fn default_limit() -> u32 {
    DEFAULT_PAGE
}
