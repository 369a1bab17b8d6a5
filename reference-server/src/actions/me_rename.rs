//! Changing the own name.

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
    people::{accounts::check_name, users},
};

/// Changes what the caller is called and logs in with.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeRename {
    pub(crate) name: String,
}

impl Action for MeRename {
    type Outcome = UserLine;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/me";
    const ACCESS: Access = Access::Person;

    fn note(&self) -> Option<Note> {
        Some(Note::new("account.rename").about(&self.name))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<UserLine, AppError> {
        let id = caller.person()?.user.id.clone();
        check_name(&self.name)?;
        let user = app
            .database()
            .write(move |transaction| {
                let other = users::find_by_name(transaction, &self.name)?;
                if other.is_some_and(|other| other.id != id) {
                    return Err(AppError::new(
                        ErrorCode::AlreadyExists,
                        "there is a user of that name already",
                    ));
                }
                users::rename(transaction, &id, &self.name)?;
                user_ref::find(transaction, id.as_str())
            })
            .await?;
        app.live().announce(None, Topic::People);
        Ok(UserLine::of(user))
    }
}
