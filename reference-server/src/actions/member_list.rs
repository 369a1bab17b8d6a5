//! Listing the members of a workspace.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::workspace_ref;
use super::{Access, Action};
use crate::{app::App, caller::Caller, error::AppError};
use crate::{
    people::{
        Role,
        members::{self, Member},
    },
    time,
};

/// Lists the members of a workspace, oldest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberList {
    pub(crate) workspace: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MemberLines {
    pub(crate) members: Vec<MemberLine>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MemberLine {
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    /// In RFC 3339.
    pub(crate) since: String,
}

impl MemberLine {
    fn of(member: Member) -> Self {
        Self {
            user: member.user.id.to_string(),
            name: member.user.name,
            role: member.role,
            since: time::rfc3339(member.since),
        }
    }
}

impl Action for MemberList {
    type Outcome = MemberLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/members";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<MemberLines, AppError> {
        let _ = caller;
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        let members = app
            .database()
            .read(move |snapshot| members::list(snapshot, &id))
            .await?;
        Ok(MemberLines {
            members: members.into_iter().map(MemberLine::of).collect(),
        })
    }
}
