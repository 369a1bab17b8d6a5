//! Adding a user, who gets in by a one-time link.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use super::{Secret, user_list::UserLine, user_ref};
use crate::{app::App, caller::Caller, error::AppError};
use crate::{
    audit::Note,
    live::Topic,
    people::{
        UserId,
        accounts::{check_free, check_name},
        links, setup, users,
    },
    time,
};

/// Adds a user called `name`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserAdd {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) is_administrator: bool,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct UserAdded {
    pub(crate) user: UserLine,
    /// Where the user chooses a password; holds a day, and once.
    pub(crate) link: Secret,
}

impl Action for UserAdd {
    type Outcome = UserAdded;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/users";
    const ACCESS: Access = Access::Administrator;

    fn note(&self) -> Option<Note> {
        let note = Note::new("user.add").about(&self.name);
        Some(match self.is_administrator {
            true => note.with_detail("as an administrator"),
            false => note,
        })
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<UserAdded, AppError> {
        let _ = caller;
        check_name(&self.name)?;
        let id = UserId::random()?;
        let (user, link) = app
            .database()
            .write(move |transaction| {
                check_free(transaction, &self.name, None)?;
                let now = time::now();
                users::insert(transaction, &id, &self.name, self.is_administrator, now)?;
                let link = links::make_password(transaction, &id, now)?;
                Ok::<_, AppError>((user_ref::find(transaction, id.as_str())?, link))
            })
            .await?;
        app.live().announce(None, Topic::People);
        Ok(UserAdded {
            user: UserLine::of(user),
            link: setup::url(app, "join", &link).into(),
        })
    }
}
