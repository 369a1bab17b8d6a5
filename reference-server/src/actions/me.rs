//! Who the caller is.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::user_list::UserLine;
use super::{Access, Action};
use crate::{app::App, caller::Caller, error::AppError};

/// Returns the account of the caller.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Me {}

impl Action for Me {
    type Outcome = UserLine;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/me";
    const ACCESS: Access = Access::Person;

    async fn run(self, app: &App, caller: &Caller) -> Result<UserLine, AppError> {
        let _ = app;
        Ok(UserLine::of(caller.person()?.user.clone()))
    }
}
