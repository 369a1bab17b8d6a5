//! Answering what an agent asks permission for.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    error::AppError,
    tasks::{Answer, Approval, ApprovalId},
};

/// Allows or denies what an agent wants to do; `always` allows the tool to that token's agents from now on.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovalAnswer {
    pub(crate) workspace: String,
    pub(crate) approval: String,
    pub(crate) answer: Answer,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ApprovalAnswered {
    pub(crate) approval: Approval,
}

impl Action for ApprovalAnswer {
    type Outcome = ApprovalAnswered;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/approvals/{approval}/answer";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        let action = match self.answer {
            Answer::Allow => "approval.allow",
            Answer::Always => "approval.always",
            Answer::Deny => "approval.deny",
        };
        Some(Note::new(action).about(&self.approval))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<ApprovalAnswered, AppError> {
        let id: ApprovalId = self.approval.parse()?;
        let author = caller.author(workspace_ref::find_active(app, &self.workspace).await?.id);
        let approval = app.tasks().answer(author, &id, self.answer).await?;
        Ok(ApprovalAnswered { approval })
    }
}
