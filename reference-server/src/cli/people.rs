//! `wst user …` and `wst setup-link`.

use super::{args::UserCommand, commands::Run, output::Output, printable, runner::Runner};
use crate::{
    actions::{
        SetupLink, UserAdd, UserAdded, UserLine, UserLink, UserList, UserPasswd, UserUpdate,
    },
    error::AppError,
};

/// `wst setup-link`.
#[derive(Debug)]
pub(super) struct ShowSetupLink;

impl Run for ShowSetupLink {
    async fn run(self, runner: &Runner, output: Output) -> Result<(), AppError> {
        let shown = runner.call(SetupLink {}).await?;
        output.outcome(&shown, |output, shown| {
            output.secret(&shown.link)?;
            output.advice(
                "open it within an hour of its making: whoever does makes the first account",
            );
            Ok(())
        })
    }
}

impl Run for UserCommand {
    async fn run(self, runner: &Runner, output: Output) -> Result<(), AppError> {
        match self {
            Self::Add {
                name,
                administrator,
            } => {
                let action = UserAdd {
                    name,
                    is_administrator: administrator,
                };
                show_link(&runner.call(action).await?, output)
            }
            Self::LoginLink { name } => {
                show_link(&runner.call(UserLink { user: name }).await?, output)
            }
            Self::List => {
                let list = runner.call(UserList {}).await?;
                output.outcome(&list, |output, list| {
                    let lines: String = list.users.iter().map(line).collect();
                    output.plain(&lines)
                })
            }
            Self::Passwd { name } => {
                let action = UserPasswd {
                    user: name,
                    password: super::commands::read_line("a password")?,
                };
                let changed = runner.call(action).await?;
                show_changed(
                    &changed,
                    "has a new password, and all logins have ended",
                    output,
                )
            }
            Self::Disable { name } => {
                let words = "is locked out, and all logins have ended";
                show_changed(
                    &change(runner, name, None, Some(true)).await?,
                    words,
                    output,
                )
            }
            Self::Enable { name } => {
                let words = "may log in again";
                show_changed(
                    &change(runner, name, None, Some(false)).await?,
                    words,
                    output,
                )
            }
            Self::Promote { name } => {
                let words = "is an administrator";
                show_changed(
                    &change(runner, name, Some(true), None).await?,
                    words,
                    output,
                )
            }
            Self::Demote { name } => {
                let words = "is a plain user";
                show_changed(
                    &change(runner, name, Some(false), None).await?,
                    words,
                    output,
                )
            }
        }
    }
}

async fn change(
    runner: &Runner,
    user: String,
    is_administrator: Option<bool>,
    is_disabled: Option<bool>,
) -> Result<UserLine, AppError> {
    let action = UserUpdate {
        user,
        is_administrator,
        is_disabled,
    };
    runner.call(action).await
}

fn show_link(added: &UserAdded, output: Output) -> Result<(), AppError> {
    output.outcome(added, |output, added| {
        output.secret(&added.link)?;
        output.advice(&format!(
            "hand this link to {}: it holds a day and works once, to choose a password",
            printable::line(&added.user.name)
        ));
        Ok(())
    })
}

fn show_changed(user: &UserLine, words: &str, output: Output) -> Result<(), AppError> {
    output.outcome(user, |output, user| {
        output.plain(&format!("{} {words}\n", printable::line(&user.name)))
    })
}

fn line(user: &UserLine) -> String {
    let mut states = vec![match user.is_administrator {
        true => "administrator",
        false => "user",
    }];
    if user.is_disabled {
        states.push("locked out");
    }
    if !user.has_password {
        states.push("has not chosen a password");
    }
    let name = printable::line(&user.name);
    format!("{}  {}  {}\n", user.id, name, states.join(", "))
}
