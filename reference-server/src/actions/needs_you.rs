//! What a workspace needs of people: questions, approvals, blocked tasks.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{app::App, caller::Caller, error::AppError, tasks::NeedsPage};

/// Shows what waits for a person, oldest first: at most 50, and how many there are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NeedsYou {
    pub(crate) workspace: String,
}

impl Action for NeedsYou {
    type Outcome = NeedsPage;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/needs-you";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<NeedsPage, AppError> {
        let workspace = workspace_ref::find(app, &self.workspace).await?.id;
        Ok(app.tasks().needs(&workspace).await?)
    }
}
