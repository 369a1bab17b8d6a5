//! The commands: each runs one action and prints what came of it.

use std::{fmt::Write as _, future::Future, io::Read as _};

use anyhow::Context as _;
use zeroize::Zeroizing;

use super::{
    args::{EndedSlot, TaskCommand, TokenCommand, TokenSlot, WorkspaceCommand},
    output::Output,
    printable,
    runner::Runner,
};
use crate::{
    actions::{
        Inspection, LastUsed, Secret, ShownMessage, TaskAdd, TaskAssign, TaskChanged, TaskList,
        TaskReply, TaskSetStatus, TaskShow, TaskShown, TokenCreate, TokenInspect, TokenLine,
        TokenList, TokenRevoke, TokenRotate, WorkspaceArchive, WorkspaceCreate, WorkspaceLine,
        WorkspaceList, WorkspaceShow, WorkspaceUnarchive, WorkspaceUnlock,
    },
    error::{AppError, ErrorCode},
    tasks::TaskCard,
    text::counted,
    variables::slot_variable,
};

/// A group of commands.
pub(super) trait Run {
    fn run(self, runner: &Runner, output: Output) -> impl Future<Output = Result<(), AppError>>;
}

impl Run for WorkspaceCommand {
    async fn run(self, runner: &Runner, output: Output) -> Result<(), AppError> {
        match self {
            Self::Create { name } => {
                let created = runner.call(WorkspaceCreate { name, id: None }).await?;
                let printed = output.outcome(&created, |output, created| {
                    output.secret(&created.secret)?;
                    output.advice(&format!(
                        "workspace {} ({})",
                        created.workspace.id, created.workspace.name
                    ));
                    let variable = slot_variable(&created.workspace.name, &created.token.name);
                    advise_connecting(output, &created.mcp_url, &variable);
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
                let list = runner.call(WorkspaceList {}).await?;
                output.outcome(&list, |output, list| {
                    output.plain(&lines(&list.workspaces, workspace_line))
                })
            }
            Self::Archive(workspace) => {
                let workspace = workspace.into_reference();
                let archived = runner
                    .call(WorkspaceArchive {
                        workspace,
                        confirm: None,
                    })
                    .await?;
                output.outcome(&archived, |output, archived| {
                    if archived.was_archived {
                        return output.plain("it was archived before; nothing was changed\n");
                    }
                    output.plain(&format!(
                        "archived; {}\n",
                        ended(archived.sessions_ended, archived.streams_severed)
                    ))
                })
            }
            Self::Unarchive(workspace) => {
                let workspace = workspace.into_reference();
                let taken_back = runner.call(WorkspaceUnarchive { workspace }).await?;
                output.outcome(&taken_back, |output, taken_back| {
                    if taken_back.was_live {
                        return output.plain("it was not archived; nothing was changed\n");
                    }
                    output.plain("taken back\n")?;
                    output.advice("it has no token: `wst token create` makes one");
                    Ok(())
                })
            }
            Self::Unlock(workspace) => {
                let id = workspace.into_reference();
                let unlocked = runner.call(WorkspaceUnlock { id }).await?;
                output.outcome(&unlocked, |output, unlocked| {
                    if unlocked.was_unlocked {
                        return output.plain("it was not locked; nothing was changed\n");
                    }
                    output.plain(&format!(
                        "unlocked; {} ended\n",
                        counted(unlocked.tokens_ended, "token")
                    ))?;
                    output.advice("`wst token create` makes new ones; tasks and messages are those of the old copy");
                    Ok(())
                })
            }
        }
    }
}

impl Run for TokenCommand {
    async fn run(self, runner: &Runner, output: Output) -> Result<(), AppError> {
        match self {
            Self::Create(slot) => create(slot, runner, output).await,
            Self::List(workspace) => {
                let workspace = workspace.workspace;
                let list = runner.call(TokenList { workspace }).await?;
                output.outcome(&list, |output, list| {
                    output.plain(&lines(&list.tokens, token_line))
                })
            }
            Self::Rotate(slot) => rotate(slot, runner, output).await,
            Self::Revoke(slot) => revoke(slot, runner, output).await,
            Self::Inspect { source, check } => inspect(&source, check, runner, output).await,
        }
    }
}

impl Run for TaskCommand {
    async fn run(self, runner: &Runner, output: Output) -> Result<(), AppError> {
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
                    attachments: Vec::new(),
                };
                let added = runner.call(action).await?;
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
                    attachments: Vec::new(),
                };
                let replied = runner.call(action).await?;
                output.outcome(&replied, |output, replied| {
                    output.plain(&format!("{}\n", replied.message.id))
                })
            }
            Self::Status {
                workspace,
                task,
                status,
            } => {
                let action = TaskSetStatus {
                    workspace: workspace.workspace,
                    task,
                    status: status.parse()?,
                };
                print_changed(&runner.call(action).await?, output)
            }
            Self::Assign {
                workspace,
                task,
                assignee,
            } => {
                let action = TaskAssign {
                    workspace: workspace.workspace,
                    task,
                    assignee: assignee.parse()?,
                };
                print_changed(&runner.call(action).await?, output)
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
                list_tasks(action, runner, output).await
            }
            Self::Show { workspace, task } => {
                let workspace = workspace.workspace;
                let shown = show_all(&workspace, &task, runner).await?;
                output.outcome(&shown, |output, shown| output.plain(&task_lines(shown)))
            }
        }
    }
}

async fn create(slot: TokenSlot, runner: &Runner, output: Output) -> Result<(), AppError> {
    // The variable is named after the workspace's name, however the command names the workspace.
    let show = WorkspaceShow {
        workspace: slot.workspace.workspace.clone(),
    };
    let named = runner.call(show).await?.workspace.name;
    let variable = slot_variable(&named, &slot.name);
    let action = TokenCreate {
        workspace: slot.workspace.workspace,
        name: slot.name,
    };
    let created = runner.call(action).await?;
    let printed = output.outcome(&created, |output, created| {
        output.secret(&created.secret)?;
        advise_connecting(output, &created.mcp_url, &variable);
        Ok(())
    });
    printed.map_err(|error| not_shown("the token was created, but could not be shown", &error))
}

async fn rotate(asked: EndedSlot, runner: &Runner, output: Output) -> Result<(), AppError> {
    let action = TokenRotate {
        workspace: asked.slot.workspace.workspace,
        name: asked.slot.name,
        reason: asked.reason,
        generation: None,
    };
    let rotated = runner.call(action).await?;
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

async fn revoke(asked: EndedSlot, runner: &Runner, output: Output) -> Result<(), AppError> {
    let action = TokenRevoke {
        workspace: asked.slot.workspace.workspace,
        name: asked.slot.name,
        reason: asked.reason,
        generation: None,
    };
    let revoked = runner.call(action).await?;
    output.outcome(&revoked, |output, revoked| {
        output.plain(&format!(
            "revoked; {}\n",
            ended(revoked.sessions_ended, revoked.streams_severed)
        ))
    })
}

async fn inspect(
    source: &str,
    check: bool,
    runner: &Runner,
    output: Output,
) -> Result<(), AppError> {
    // Not left to clap, who would quote what may be a token.
    if source != "-" {
        return Err(AppError::usage(
            "a token is read from standard input alone: `wst token inspect -`",
        ));
    }
    let token = read_token()?;
    let inspection = runner.call(TokenInspect { token }).await?;
    output.outcome(&inspection, |output, inspection| {
        output.plain(&inspection_lines(inspection))
    })?;
    // To look at a token that has ended is no failure; to rely on it is.
    match check && !inspection.current {
        true => Err(AppError::new(ErrorCode::Failed, "the token is not current")),
        false => Ok(()),
    }
}

async fn list_tasks(action: TaskList, runner: &Runner, output: Output) -> Result<(), AppError> {
    let list = runner.call(action).await?;
    output.outcome(&list, |output, list| {
        output.plain(&lines(&list.tasks, task_line))?;
        if let Some(cursor) = &list.next_cursor {
            output.advice(&format!("more with --cursor {cursor}"));
        }
        Ok(())
    })
}

fn print_changed(changed: &TaskChanged, output: Output) -> Result<(), AppError> {
    output.outcome(changed, |output, changed| {
        output.plain(&format!("{}\n", task_line(&changed.task)))
    })
}

/// Reads a task with all of its conversation, a page at a time from its end.
async fn show_all(workspace: &str, task: &str, runner: &Runner) -> Result<TaskShown, AppError> {
    let page = |before| TaskShow {
        workspace: workspace.to_owned(),
        task: task.to_owned(),
        before,
        limit: None,
    };
    let mut shown = runner.call(page(None)).await?;
    while let Some(cursor) = shown.previous_cursor.take() {
        let mut older = runner.call(page(Some(cursor.into()))).await?;
        older.messages.append(&mut shown.messages);
        shown.messages = older.messages;
        shown.previous_cursor = older.previous_cursor;
    }
    Ok(shown)
}

fn read_token() -> Result<Secret, AppError> {
    read_line("a token")
}

/// Reads a secret from standard input: arguments are seen by every process of the machine.
pub(super) fn read_line(what: &str) -> Result<Secret, AppError> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_INPUT));
    std::io::stdin()
        .take(MAX_INPUT as u64)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {what} from standard input"))?;
    let secret = text.trim();
    if secret.is_empty() {
        return Err(AppError::invalid(format!(
            "there is no {} on standard input",
            what.trim_start_matches("a ")
        )));
    }
    Ok(Secret::new(secret.to_owned()))
}

/// Says where to connect, and which variable to keep the token in.
fn advise_connecting(output: Output, mcp_url: &str, variable: &str) {
    output.advice(&format!(
        "connect to {mcp_url} with the header `Authorization: Bearer <token>`"
    ));
    output.advice(&format!(
        "keep the token, which is not shown again, in the variable {variable}"
    ));
    output.advice(&format!(
        "tell a client of it: wst connect CLIENT --url {mcp_url} --variable {variable} --write"
    ));
}

fn ended(sessions: usize, streams: usize) -> String {
    format!(
        "{} and {} ended",
        counted(sessions, "session"),
        counted(streams, "stream")
    )
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
    let used = |used: &LastUsed| {
        let words = format!("{} {}", used.at, used.by_whom());
        printable::line(words.trim_end())
    };
    let last_used = token.last_used.as_ref().map(used);
    let before = token.last_used_before.as_ref().map(|before| {
        let (generation, used) = (before.generation, used(&before.used));
        format!(" (generation {generation} was last used {used})")
    });
    format!(
        "{}  {:7}  generation {}  since {}  last used {}{}  {}",
        token.id,
        token.state,
        token.generation,
        token.created_at,
        last_used.as_deref().unwrap_or("never"),
        before.unwrap_or_default(),
        token.name,
    )
}

fn task_line(task: &TaskCard) -> String {
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
    let head = format!("{}\n", task_line(task));
    let blocks = [printable::indented(&task.body)]
        .into_iter()
        .chain(shown.messages.iter().map(message_lines))
        .filter(|block| !block.is_empty());
    blocks.fold(head, |text, block| text + "\n" + &block)
}

fn message_lines(message: &ShownMessage) -> String {
    let name = printable::line(&message.author_name);
    format!(
        "{}\n{}",
        [&*message.created_at, message.author.as_str(), &name]
            .join("  ")
            .trim_end(),
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
