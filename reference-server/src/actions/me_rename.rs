//! Changing the own name.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use super::{user_list::UserLine, user_ref};
use crate::{app::App, caller::Caller, error::AppError};
use crate::{
    audit::Note,
    live::Topic,
    people::{
        accounts::{check_free, check_name},
        users,
    },
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
        let user = &caller.person()?.user;
        let (id, former) = (user.id.clone(), user.name.clone());
        // A name that is there already stays good.
        if self.name != former {
            check_name(&self.name)?;
        }
        let user = app
            .database()
            .write(move |transaction| {
                if self.name != former {
                    check_free(transaction, &self.name, Some(&id))?;
                }
                users::rename(transaction, &id, &self.name)?;
                user_ref::find(transaction, id.as_str())
            })
            .await?;
        app.live().announce(None, Topic::People);
        Ok(UserLine::of(user))
    }
}
