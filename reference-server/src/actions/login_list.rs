//! Listing the own logins.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use crate::{app::App, caller::Caller, error::AppError};
use crate::{
    people::logins::{self, Login},
    time,
};

/// Lists the browsers in which the caller is logged in.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginList {}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LoginLines {
    pub(crate) logins: Vec<LoginLine>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LoginLine {
    pub(crate) id: String,
    /// Whether it is the one that asks.
    pub(crate) is_this: bool,
    /// In RFC 3339.
    pub(crate) began_at: String,
    pub(crate) last_seen_at: String,
    pub(crate) address: Option<String>,
    /// The browser's `User-Agent`.
    pub(crate) agent: Option<String>,
}

impl Action for LoginList {
    type Outcome = LoginLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/me/logins";
    const ACCESS: Access = Access::Person;

    async fn run(self, app: &App, caller: &Caller) -> Result<LoginLines, AppError> {
        let person = caller.person()?.clone();
        let id = person.user.id;
        let all = app
            .database()
            .read(move |snapshot| logins::list(snapshot, &id, time::now()))
            .await?;
        let line = |login: Login| LoginLine {
            is_this: person.login.as_ref() == Some(&login.id),
            id: login.id,
            began_at: time::rfc3339(login.created_at),
            last_seen_at: time::rfc3339(login.last_seen_at),
            address: login.address,
            agent: login.agent,
        };
        Ok(LoginLines {
            logins: all.into_iter().map(line).collect(),
        })
    }
}
