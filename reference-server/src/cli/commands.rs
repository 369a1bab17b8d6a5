//! The commands: each runs one action and prints what came of it.

use std::{fmt::Write as _, future::Future, io::Read as _};

use anyhow::Context as _;
use zeroize::Zeroizing;

use super::{
    args::{TaskCommand, TokenCommand, TokenSlot, WorkspaceCommand},
    caller::Caller,
    output::Output,
    printable,
};
use crate::{
    actions::{
        Inspection, Secret, ShownMessage, TaskAdd, TaskLine, TaskList, TaskReply, TaskShow,
        TaskShown, TokenCreate, TokenInspect, TokenLine, TokenList, TokenRevoke, TokenRotate,
        WorkspaceArchive, WorkspaceCreate, WorkspaceLine, WorkspaceList,
    },
    error::{AppError, ErrorCode},
};

/// A group of commands.
pub(super) trait Run {
    fn run(self, caller: &Caller, output: Output) -> impl Future<Output = Result<(), AppError>>;
}

impl Run for WorkspaceCommand {
    async fn run(self, caller: &Caller, output: Output) -> Result<(), AppError> {
        match self {
            Self::Create { name } => {
                let created = caller.call(WorkspaceCreate { name }).await?;
                let printed = output.outcome(&created, |output, created| {
                    output.secret(&created.secret)?;
                    output.advice(&format!(
                        "workspace {} ({})",
                        created.workspace.id, created.workspace.name
                    ));
                    advise_connecting(output, &created.mcp_url, &created.workspace.name);
                    Ok(())
                });
                printed.map_err(|error| {
                    let id = &created.workspace.id;
                    not_shown(
                        &format!(
                            "the workspace {id} was created, but its token could not be shown"
                        ),
                        &error,
                    )
                })
            }
            Self::List => {
                let list = caller.call(WorkspaceList {}).await?;
                output.outcome(&list, |output, list| {
                    output.plain(&lines(&list.workspaces, workspace_line))
                })
            }
            Self::Archive(workspace) => {
                let workspace = workspace.into_reference();
                let archived = caller.call(WorkspaceArchive { workspace }).await?;
                output.outcome(&archived, |output, archived| {
                    output.plain(&format!(
                        "archived; {}\n",
                        ended(archived.sessions_ended, archived.streams_severed)
                    ))
                })
            }
        }
    }
}

impl Run for TokenCommand {
    async fn run(self, caller: &Caller, output: Output) -> Result<(), AppError> {
        match self {
            Self::Create(slot) => create(slot, caller, output).await,
            Self::List(workspace) => {
                let workspace = workspace.workspace;
                let list = caller.call(TokenList { workspace }).await?;
                output.outcome(&list, |output, list| {
                    output.plain(&lines(&list.tokens, token_line))
                })
            }
            Self::Rotate(slot) => rotate(slot, caller, output).await,
            Self::Revoke(slot) => revoke(slot, caller, output).await,
            Self::Inspect { source } => inspect(&source, caller, output).await,
        }
    }
}

impl Run for TaskCommand {
    async fn run(self, caller: &Caller, output: Output) -> Result<(), AppError> {
        match self {
            Self::Add {
                workspace,
                title,
                body,
                assignee,
            } => {
                let action = TaskAdd {
                    workspace: workspace.workspace,
                    title,
                    body,
                    assignee: assignee.parse()?,
                };
                let added = caller.call(action).await?;
                output.outcome(&added, |output, added| {
                    output.plain(&format!("{}\n", added.task.id))
                })
            }
            Self::Reply {
                workspace,
                task,
                text,
            } => {
                let action = TaskReply {
                    workspace: workspace.workspace,
                    task,
                    text,
                };
                let replied = caller.call(action).await?;
                output.outcome(&replied, |output, replied| {
                    output.plain(&format!("{}\n", replied.message.id))
                })
            }
            Self::List {
                workspace,
                status,
                cursor,
                limit,
            } => {
                let action = TaskList {
                    workspace: workspace.workspace,
                    status: status.map(|status| status.parse()).transpose()?,
                    cursor,
                    limit,
                };
                list_tasks(action, caller, output).await
            }
            Self::Show { workspace, task } => {
                let workspace = workspace.workspace;
                let shown = caller.call(TaskShow { workspace, task }).await?;
                output.outcome(&shown, |output, shown| output.plain(&task_lines(shown)))
            }
        }
    }
}

async fn create(slot: TokenSlot, caller: &Caller, output: Output) -> Result<(), AppError> {
    let variable = format!("{} {}", slot.workspace.workspace, slot.name);
    let action = TokenCreate {
        workspace: slot.workspace.workspace,
        name: slot.name,
    };
    let created = caller.call(action).await?;
    let printed = output.outcome(&created, |output, created| {
        output.secret(&created.secret)?;
        advise_connecting(output, &created.mcp_url, &variable);
        Ok(())
    });
    printed.map_err(|error| not_shown("the token was created, but could not be shown", &error))
}

async fn rotate(slot: TokenSlot, caller: &Caller, output: Output) -> Result<(), AppError> {
    let action = TokenRotate {
        workspace: slot.workspace.workspace,
        name: slot.name,
    };
    let rotated = caller.call(action).await?;
    let printed = output.outcome(&rotated, |output, rotated| {
        output.secret(&rotated.secret)?;
        output.advice(&format!(
            "generation {}; the old token is dead: {}",
            rotated.generation,
            ended(rotated.sessions_ended, rotated.streams_severed)
        ));
        output.advice("put the new token, which is not shown again, where the old one was");
        Ok(())
    });
    printed.map_err(|error| {
        not_shown(
            "the old token is dead, and the new one could not be shown",
            &error,
        )
    })
}

/// Makes the error of a token that is there, while nobody has seen it.
fn not_shown(what: &str, because: &AppError) -> AppError {
    AppError::new(
        ErrorCode::Failed,
        format!("{what}: run `wst token rotate` to get one that is shown ({because})"),
    )
}

async fn revoke(slot: TokenSlot, caller: &Caller, output: Output) -> Result<(), AppError> {
    let action = TokenRevoke {
        workspace: slot.workspace.workspace,
        name: slot.name,
    };
    let revoked = caller.call(action).await?;
    output.outcome(&revoked, |output, revoked| {
        output.plain(&format!(
            "revoked; {}\n",
            ended(revoked.sessions_ended, revoked.streams_severed)
        ))
    })
}

async fn inspect(source: &str, caller: &Caller, output: Output) -> Result<(), AppError> {
    // Not left to clap, who would quote what may be a token.
    if source != "-" {
        return Err(AppError::usage(
            "a token is read from standard input alone: `wst token inspect -`",
        ));
    }
    let token = read_token()?;
    let inspection = caller.call(TokenInspect { token }).await?;
    output.outcome(&inspection, |output, inspection| {
        output.plain(&inspection_lines(inspection))
    })
}

async fn list_tasks(action: TaskList, caller: &Caller, output: Output) -> Result<(), AppError> {
    let list = caller.call(action).await?;
    output.outcome(&list, |output, list| {
        output.plain(&lines(&list.tasks, task_line))?;
        if let Some(cursor) = &list.next_cursor {
            output.advice(&format!("more with --cursor {cursor}"));
        }
        Ok(())
    })
}

fn read_token() -> Result<Secret, AppError> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_INPUT));
    std::io::stdin()
        .take(MAX_INPUT as u64)
        .read_to_string(&mut text)
        .context("cannot read a token from standard input")?;
    let token = text.trim();
    if token.is_empty() {
        return Err(AppError::invalid("there is no token on standard input"));
    }
    Ok(Secret::new(token.to_owned()))
}

/// Says where to connect, and which variable to keep the token in: one that is `named` after what it opens.
fn advise_connecting(output: Output, mcp_url: &str, named: &str) {
    output.advice(&format!(
        "connect to {mcp_url} with the header `Authorization: Bearer <token>`"
    ));
    output.advice(&format!(
        "keep the token, which is not shown again, in the variable {}",
        variable_name(named)
    ));
}

fn variable_name(named: &str) -> String {
    let upper = |character: char| match character.to_ascii_uppercase() {
        upper if upper.is_ascii_alphanumeric() => upper,
        _ => '_',
    };
    named
        .chars()
        .map(upper)
        .fold("WORKSPACE_TOKEN_".to_owned(), |mut name, character| {
            name.push(character);
            name
        })
}

fn ended(sessions: usize, streams: usize) -> String {
    format!("{sessions} sessions and {streams} streams ended")
}

fn lines<T>(items: &[T], line: impl Fn(&T) -> String) -> String {
    items.iter().fold(String::new(), |mut text, item| {
        text.push_str(&line(item));
        text.push('\n');
        text
    })
}

fn workspace_line(workspace: &WorkspaceLine) -> String {
    let mark = if workspace.archived {
        "  (archived)"
    } else {
        ""
    };
    format!("{}  {}{mark}", workspace.id, workspace.name)
}

fn token_line(token: &TokenLine) -> String {
    format!(
        "{}  {:7}  generation {}  since {}  last used {}  {}",
        token.id,
        token.state,
        token.generation,
        token.created_at,
        token.last_used_at.as_deref().unwrap_or("never"),
        token.name,
    )
}

fn task_line(task: &TaskLine) -> String {
    format!(
        "{}  {:10}  {:5}  {}",
        task.id,
        task.status.as_str(),
        task.assignee.as_str(),
        printable::line(&task.title)
    )
}

fn task_lines(shown: &TaskShown) -> String {
    let task = &shown.task;
    let head = format!("{}\n", task_line(&task.line));
    let blocks = [printable::indented(&task.body)]
        .into_iter()
        .chain(shown.messages.iter().map(message_lines))
        .filter(|block| !block.is_empty());
    blocks.fold(head, |text, block| text + "\n" + &block)
}

fn message_lines(message: &ShownMessage) -> String {
    format!(
        "{}  {}\n{}",
        message.created_at,
        message.author.as_str(),
        printable::indented(&message.text)
    )
}

fn inspection_lines(inspection: &Inspection) -> String {
    let mut text = match (&inspection.problem, inspection.current) {
        (_, true) => "current\n".to_owned(),
        (Some(problem), false) => format!("not current: {problem}\n"),
        (None, false) => "not current\n".to_owned(),
    };
    if let Some(token) = &inspection.token {
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "workspace {}\nname {}\ngeneration {}\nissued {}",
            token.workspace, token.name, token.generation, token.issued_at
        );
    }
    text
}

const MAX_INPUT: usize = 16 * 1024;
