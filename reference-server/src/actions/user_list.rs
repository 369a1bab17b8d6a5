//! Listing the users of the server.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use crate::{app::App, caller::Caller, error::AppError};
use crate::{
    people::{User, users},
    time,
};

/// Lists all users, oldest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserList {}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct UserLines {
    pub(crate) users: Vec<UserLine>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct UserLine {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) is_administrator: bool,
    pub(crate) is_disabled: bool,
    /// Whether a password was chosen: before, there is but a link.
    pub(crate) has_password: bool,
    /// In RFC 3339.
    pub(crate) created_at: String,
}

impl UserLine {
    pub(super) fn of(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            name: user.name,
            is_administrator: user.is_administrator,
            is_disabled: user.is_disabled,
            has_password: user.has_password,
            created_at: time::rfc3339(user.created_at),
        }
    }
}

impl Action for UserList {
    type Outcome = UserLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/users";
    const ACCESS: Access = Access::Administrator;

    async fn run(self, app: &App, caller: &Caller) -> Result<UserLines, AppError> {
        let users = app.database().read(users::list).await?;
        let _ = caller;
        Ok(UserLines {
            users: users.into_iter().map(UserLine::of).collect(),
        })
    }
}
