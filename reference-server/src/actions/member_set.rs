//! Making somebody a member of a workspace.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use super::{
    MemberList, member_list::MemberLines, member_remove::check_owners, user_ref, workspace_ref,
};
use crate::{app::App, caller::Caller, error::AppError};
use crate::{
    audit::Note,
    live::Topic,
    people::{Role, members},
    time,
};

/// Makes `user` a member, or changes what they may do.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberSet {
    pub(crate) workspace: String,
    /// An id or a name.
    pub(crate) user: String,
    pub(crate) role: Role,
}

impl Action for MemberSet {
    type Outcome = MemberLines;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/members";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        Some(
            Note::new("member.set")
                .about(&self.user)
                .with_detail(self.role.as_str()),
        )
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<MemberLines, AppError> {
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        app.database()
            .write(move |transaction| {
                let user = user_ref::find(transaction, &self.user)?;
                let owners = members::owners(transaction, &id)?;
                members::set(transaction, &id, &user.id, self.role, time::now())?;
                check_owners(transaction, &id, owners)
            })
            .await?;
        app.live().announce(Some(&id), Topic::People);
        let workspace = self.workspace;
        MemberList { workspace }.run(app, caller).await
    }
}
