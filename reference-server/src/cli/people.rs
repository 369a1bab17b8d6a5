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
                show_changed(&runner.call(action).await?, output)
            }
            Self::Disable { name } => change(runner, output, name, None, Some(true)).await,
            Self::Enable { name } => change(runner, output, name, None, Some(false)).await,
            Self::Promote { name } => change(runner, output, name, Some(true), None).await,
            Self::Demote { name } => change(runner, output, name, Some(false), None).await,
        }
    }
}

async fn change(
    runner: &Runner,
    output: Output,
    user: String,
    is_administrator: Option<bool>,
    is_disabled: Option<bool>,
) -> Result<(), AppError> {
    let action = UserUpdate {
        user,
        is_administrator,
        is_disabled,
    };
    show_changed(&runner.call(action).await?, output)
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

fn show_changed(user: &UserLine, output: Output) -> Result<(), AppError> {
    output.outcome(user, |output, user| output.plain(&line(user)))
}

fn line(user: &UserLine) -> String {
    let mut states = Vec::new();
    if user.is_administrator {
        states.push("administrator");
    }
    if user.is_disabled {
        states.push("locked out");
    }
    if !user.has_password {
        states.push("has not chosen a password");
    }
    let name = printable::line(&user.name);
    format!("{}  {}  {}\n", user.id, name, states.join(", "))
}
