//! Reading the audit list.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::workspace_ref;
use super::{Access, Action};
use crate::audit::{self, AuditFilter, AuditPage};
use crate::{app::App, caller::Caller, error::AppError};

/// Lists what was done in a workspace, the latest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditList {
    pub(crate) workspace: String,
    /// Only actions that begin with this, as `token` or `token.rotate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<String>,
    /// Only what somebody of this name did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<String>,
    /// Only entries before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<i64>,
    /// 1 to 1,000; 100 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u32>,
}

impl Action for AuditList {
    type Outcome = AuditPage;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/audit";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<AuditPage, AppError> {
        let _ = caller;
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        let filter = AuditFilter {
            action: self.action,
            actor: self.actor,
            before: self.before,
            limit: self.limit,
        };
        audit::list(app, Some(id), filter).await
    }
}
