//! Setting the password of a user.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use super::{Secret, user_list::UserLine, user_ref};
use crate::{app::App, caller::Caller, error::AppError};
use crate::{audit::Note, live::Topic};

/// Sets a user's password; all of their logins end.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserPasswd {
    pub(crate) user: String,
    pub(crate) password: Secret,
}

impl Action for UserPasswd {
    type Outcome = UserLine;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/users/{user}/password";
    const ACCESS: Access = Access::Administrator;

    fn note(&self) -> Option<Note> {
        Some(Note::new("user.password").about(&self.user))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<UserLine, AppError> {
        let _ = caller;
        let name = self.user;
        let user = app
            .database()
            .read(move |snapshot| user_ref::find(snapshot, &name))
            .await?;
        let password = self.password.into_inner();
        let accounts = app.accounts();
        accounts
            .set_password(user.id.clone(), password, None)
            .await?;
        app.live().announce(None, Topic::People);
        Ok(UserLine::of(user))
    }
}
