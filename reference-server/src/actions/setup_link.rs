//! Showing the setup link again.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;
use super::{Access, Action};
use crate::{app::App, caller::Caller, error::AppError};
use crate::{error::ErrorCode, people::setup};

/// Returns the link with which the first account is made.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetupLink {}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SetupLinkShown {
    /// Holds an hour, and once.
    pub(crate) link: Secret,
}

impl Action for SetupLink {
    type Outcome = SetupLinkShown;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/setup-link";
    const ACCESS: Access = Access::Administrator;

    async fn run(self, app: &App, caller: &Caller) -> Result<SetupLinkShown, AppError> {
        let _ = caller;
        match setup::link(app).await? {
            Some(link) => Ok(SetupLinkShown { link: link.into() }),
            None => Err(AppError::new(
                ErrorCode::AlreadyExists,
                "there is an account already",
            )
            .with_hint(
                "`wst user login-link NAME` makes a link for one, `wst user add NAME` another account",
            )),
        }
    }
}
