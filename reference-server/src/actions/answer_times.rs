//! How long agents waited for people's answers, for a small chart.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{app::App, caller::Caller, error::AppError, tasks::AnswerTimes};

/// Shows how long the answers of the last thirty days took, day by day.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerTimesShow {
    pub(crate) workspace: String,
}

impl Action for AnswerTimesShow {
    type Outcome = AnswerTimes;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/answer-times";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<AnswerTimes, AppError> {
        let workspace = workspace_ref::find(app, &self.workspace).await?.id;
        Ok(app.tasks().answer_times(&workspace).await?)
    }
}
