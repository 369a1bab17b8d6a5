//! What a user may do on the server.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use super::{user_list::UserLine, user_ref};
use crate::{app::App, caller::Caller, error::AppError};
use crate::{
    audit::Note,
    error::ErrorCode,
    live::Topic,
    people::{links, logins, users},
    time,
};

/// Makes a user an administrator or not, or locks them out.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserUpdate {
    pub(crate) user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) is_administrator: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) is_disabled: Option<bool>,
}

impl Action for UserUpdate {
    type Outcome = UserLine;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/users/{user}";
    const ACCESS: Access = Access::Administrator;

    fn note(&self) -> Option<Note> {
        Some(
            Note::new("user.update")
                .about(&self.user)
                .with_detail(self.words()),
        )
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<UserLine, AppError> {
        let _ = caller;
        let user = app
            .database()
            .write(move |transaction| {
                let user = user_ref::find(transaction, &self.user)?;
                if let Some(is_administrator) = self.is_administrator {
                    users::set_administrator(transaction, &user.id, is_administrator)?;
                }
                if let Some(is_disabled) = self.is_disabled {
                    let since = is_disabled.then(time::now);
                    users::set_disabled(transaction, &user.id, since)?;
                    if is_disabled {
                        logins::end_others(transaction, &user.id, None)?;
                        links::revoke(transaction, &user.id)?;
                    }
                }
                if users::administrators(transaction)? == 0 {
                    return Err(AppError::new(
                        ErrorCode::Conflict,
                        "this is the last administrator: make another one first",
                    ));
                }
                user_ref::find(transaction, user.id.as_str())
            })
            .await?;
        app.live().announce(None, Topic::People);
        Ok(UserLine::of(user))
    }
}

impl UserUpdate {
    fn words(&self) -> String {
        let administrator = self.is_administrator.map(|is| match is {
            true => "made an administrator",
            false => "no administrator any longer",
        });
        let disabled = self.is_disabled.map(|is| match is {
            true => "locked out",
            false => "let in again",
        });
        let words: Vec<&str> = administrator.into_iter().chain(disabled).collect();
        words.join(", ")
    }
}
