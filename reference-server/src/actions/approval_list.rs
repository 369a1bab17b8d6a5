//! Listing what agents asked permission for.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{
    app::App,
    caller::Caller,
    error::AppError,
    tasks::{Approval, ApprovalRule, MAX_PAGE},
};

/// Lists the latest 100 approvals of a workspace, newest first, and the rules that answer unasked.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalList {
    pub(crate) workspace: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ApprovalLines {
    pub(crate) approvals: Vec<Approval>,
    pub(crate) rules: Vec<ApprovalRule>,
}

impl Action for ApprovalList {
    type Outcome = ApprovalLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/approvals";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<ApprovalLines, AppError> {
        let workspace = workspace_ref::find(app, &self.workspace).await?.id;
        Ok(ApprovalLines {
            approvals: app.tasks().approvals(&workspace, MAX_PAGE).await?,
            rules: app.tasks().rules(&workspace).await?,
        })
    }
}
