//! Taking back a permission that was given for good.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{app::App, audit::Note, caller::Caller, error::AppError, tasks::RuleId};

/// Removes a rule: people are asked again from now on.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleRemove {
    pub(crate) workspace: String,
    pub(crate) rule: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RuleRemoved {}

impl Action for RuleRemove {
    type Outcome = RuleRemoved;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/rules/{rule}/remove";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        Some(Note::new("approval.remove_rule").about(&self.rule))
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<RuleRemoved, AppError> {
        let rule: RuleId = self.rule.parse()?;
        let workspace = workspace_ref::find(app, &self.workspace).await?.id;
        app.tasks().remove_rule(&workspace, &rule).await?;
        Ok(RuleRemoved {})
    }
}
