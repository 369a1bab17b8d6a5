//! Changing the own password.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use super::{Secret, user_list::UserLine};
use crate::{app::App, caller::Caller, error::AppError};
use crate::{audit::Note, live::Topic};

/// Changes the caller's password; all of their other logins end.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MePassword {
    pub(crate) old: Secret,
    pub(crate) new: Secret,
}

impl Action for MePassword {
    type Outcome = UserLine;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/me/password";
    const ACCESS: Access = Access::Person;

    fn note(&self) -> Option<Note> {
        Some(Note::new("account.password"))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<UserLine, AppError> {
        let person = caller.person()?;
        let (old, new) = (self.old.into_inner(), self.new.into_inner());
        let accounts = app.accounts();
        accounts
            .change_password(&person.user, person.login.clone(), old, new)
            .await?;
        app.live().announce(None, Topic::People);
        Ok(UserLine::of(person.user.clone()))
    }
}
