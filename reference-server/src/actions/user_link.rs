//! A one-time link with which a user chooses a new password.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use super::{user_add::UserAdded, user_list::UserLine, user_ref};
use crate::{app::App, caller::Caller, error::AppError};
use crate::{
    audit::Note,
    error::ErrorCode,
    people::{links, setup},
    time,
};

/// Makes a link for `user`; the one before no longer holds.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserLink {
    pub(crate) user: String,
}

impl Action for UserLink {
    type Outcome = UserAdded;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/users/{user}/link";
    const ACCESS: Access = Access::Administrator;

    fn note(&self) -> Option<Note> {
        Some(Note::new("user.link").about(&self.user))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<UserAdded, AppError> {
        let _ = caller;
        let (user, link) = app
            .database()
            .write(move |transaction| {
                let user = user_ref::find(transaction, &self.user)?;
                if user.is_disabled {
                    return Err(AppError::new(
                        ErrorCode::Conflict,
                        "they are locked out, and a link would not let them in: let them in again first",
                    )
                    .with_hint("`wst user enable NAME`"));
                }
                let link = links::make_password(transaction, &user.id, time::now())?;
                Ok::<_, AppError>((user, link))
            })
            .await?;
        Ok(UserAdded {
            user: UserLine::of(user),
            link: setup::url(app, "join", &link).into(),
        })
    }
}
