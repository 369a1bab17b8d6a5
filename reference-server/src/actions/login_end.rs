//! Ending an own login.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use crate::{
    app::App,
    caller::Caller,
    error::{AppError, ErrorCode},
};
use crate::{audit::Note, live::Topic, people::logins};

/// Ends a login of the caller; `others` stands for all but the one that asks.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginEnd {
    pub(crate) login: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LoginsEnded {
    pub(crate) ended: usize,
}

impl Action for LoginEnd {
    type Outcome = LoginsEnded;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/me/logins/{login}/end";
    const ACCESS: Access = Access::Person;

    fn note(&self) -> Option<Note> {
        Some(Note::new("account.logout"))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<LoginsEnded, AppError> {
        let person = caller.person()?.clone();
        let all = self.login == "others";
        let ended = app
            .database()
            .write(move |transaction| {
                let user = &person.user.id;
                if all {
                    return logins::end_others(transaction, user, person.login.as_deref());
                }
                logins::end(transaction, user, &self.login).map(usize::from)
            })
            .await?;
        if ended == 0 && !all {
            return Err(AppError::new(
                ErrorCode::NotFound,
                "there is no such login any longer",
            ));
        }
        app.live().announce(None, Topic::People);
        Ok(LoginsEnded { ended })
    }
}
