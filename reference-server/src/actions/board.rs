//! The board of a workspace: its tasks by state.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{
    app::App,
    caller::Caller,
    error::AppError,
    tasks::{BoardColumn, Status, TaskId},
};

/// Shows the first 50 tasks of each state in their order, or, with `status`, a page of that state.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Board {
    pub(crate) workspace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<Status>,
    /// Where the page begins: the `next_cursor` of the page before. Needs `status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BoardShown {
    /// In the order not started, ongoing, completed, blocked, rejected.
    pub(crate) columns: Vec<BoardColumn>,
}

impl Action for Board {
    type Outcome = BoardShown;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/board";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<BoardShown, AppError> {
        let cursor = self.cursor.map(TaskId::try_from).transpose()?;
        let workspace = workspace_ref::find(app, &self.workspace).await?.id;
        let tasks = app.tasks();
        let columns = match self.status {
            None if cursor.is_some() => {
                return Err(AppError::invalid("a cursor needs the status of its column"));
            }
            None => tasks.board(&workspace).await?,
            Some(status) => vec![tasks.board_column(&workspace, status, cursor).await?],
        };
        Ok(BoardShown { columns })
    }
}
