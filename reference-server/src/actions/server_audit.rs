//! Reading the audit list of the whole server.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use crate::audit::{self, AuditFilter, AuditPage};
use crate::{app::App, caller::Caller, error::AppError};

/// Lists what was done anywhere, the latest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerAudit {
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

impl Action for ServerAudit {
    type Outcome = AuditPage;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/audit";
    const ACCESS: Access = Access::Administrator;

    async fn run(self, app: &App, _caller: &Caller) -> Result<AuditPage, AppError> {
        let filter = AuditFilter {
            action: self.action,
            actor: self.actor,
            before: self.before,
            limit: self.limit,
        };
        audit::list(app, None, filter).await
    }
}
