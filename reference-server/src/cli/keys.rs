//! `wst key`: the keys that tokens are signed and sealed with.

use std::{
    io::{self, IsTerminal as _},
    path::{self, Path},
};

use anyhow::Context as _;
use tower_workspace_token::authority::Keys;

use super::{
    args::KeyCommand,
    commands::Run,
    output::Output,
    progress::{Progress, Unit},
    runner::Runner,
};
use crate::{
    actions::{KeyCheck, KeyLine, KeyLines, KeyList, KeyRetire, KeyRewrap, KeyRotate, Ring},
    data_dir::keys::{KeySource, export_to, render},
    error::{AppError, ErrorCode},
    key_check,
    progress::JobKind,
    text::counted,
};

impl Run for KeyCommand {
    async fn run(self, runner: &Runner, output: Output) -> Result<(), AppError> {
        match self {
            Self::List => {
                let list = runner.call(KeyList {}).await?;
                output.outcome(&list, print)
            }
            Self::Rotate { ring } => {
                let rotated = runner.call(KeyRotate { ring }).await?;
                output.outcome(&rotated, |output, rotated| {
                    print(output, rotated)?;
                    let (what, then) = match ring {
                        None => ("new keys sign and seal", "`wst key rewrap`"),
                        Some(Ring::Sealing) => ("a new key seals", "`wst key rewrap`"),
                        Some(Ring::Signing) => ("a new key signs", "`wst token rotate` for tokens that shall not need the former one"),
                    };
                    output.advice(&format!(
                        "{what} from here on: `wst key export` makes a copy of {} for where you keep one, then {then}",
                        rotated.file
                    ));
                    Ok(())
                })
            }
            Self::Check { copy } => check(copy.as_deref(), runner, output).await,
            Self::Export { file, force } => export(&file, force, runner, output).await,
            Self::Rewrap => {
                let progress = Progress::new(output, "rewrapping", Unit::Tokens);
                let done = runner
                    .call_showing(KeyRewrap {}, JobKind::Rewrap, progress)
                    .await?;
                output.outcome(&done, |output, done| {
                    output.plain(&format!(
                        "{} rewrapped, {} already current; all are sealed with {}\n",
                        counted(done.rewrapped, "token"),
                        done.already_current,
                        done.primary
                    ))?;
                    output.advice("a key that seals no token any longer can go: `wst key list`, then `wst key retire ID`");
                    Ok(())
                })
            }
            Self::Retire { id } => {
                let retired = runner.call(KeyRetire { id }).await?;
                output.outcome(&retired, |output, retired| {
                    print(output, retired)?;
                    output.advice("backups from before need the key: keep a copy of the former key file as long as you keep those");
                    Ok(())
                })
            }
        }
    }
}

async fn check(copy: Option<&Path>, runner: &Runner, output: Output) -> Result<(), AppError> {
    let checked = runner.call(KeyCheck {}).await?;
    output.outcome(&checked, |output, checked| {
        print(output, &checked.keys)?;
        output.plain(&format!(
            "{} opened, each with the keys that it needs\n",
            counted(checked.sound, "live token")
        ))?;
        if let Some(slots) = &checked.unsigned {
            output.advice(&format!(
                "the key is gone that signed the tokens {slots}: they are refused, and want to be regenerated"
            ));
        }
        if let Some(slots) = &checked.locked {
            output.advice(&format!(
                "not looked at, since their workspaces are locked: {slots}"
            ));
        }
        Ok(())
    })?;
    if let Some(copy) = copy {
        let keys = KeySource::read_copy(copy)?;
        check_held(&keys, copy, &checked.keys, checked.locked.is_some())?;
        output.advice("the copy holds all keys that are needed");
    }
    match checked.is_sound {
        true => Ok(()),
        false => Err(AppError::new(
            ErrorCode::Failed,
            "tokens lack a key, or were not looked at",
        )),
    }
}

/// Fails if a key that signs or seals, or that a live token needs, is missing from those of a file; `all` former ones
/// may be needed where that cannot be told.
fn check_held(keys: &Keys, file: &Path, list: &KeyLines, all: bool) -> Result<(), AppError> {
    let held = key_check::held(keys);
    let is_held = |key: &&KeyLine| {
        held.iter()
            .any(|(ring, id)| *ring == key.ring && *id == key.id)
    };
    let is_needed = |key: &&KeyLine| all || key.role == "primary" || key.tokens > 0;
    let needed = list.keys.iter().filter(is_needed);
    let missing: Vec<String> = needed
        .filter(|key| !is_held(key))
        .map(|key| format!("{} {}", key.ring, key.id))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(AppError::new(
        ErrorCode::Failed,
        format!("{} lacks the keys {}", file.display(), missing.join(", ")),
    )
    .with_hint("`wst key export` makes a new copy"))
}

/// Copies the key file. The keys pass no socket: whoever runs this can read the file.
async fn export(file: &Path, force: bool, runner: &Runner, output: Output) -> Result<(), AppError> {
    let list = runner.call(KeyList {}).await?;
    let source = Path::new(&list.file);
    let keys = KeySource::read_copy(source)?;
    // Those that the server has read, and not what somebody is about to put there.
    check_held(&keys, source, &list, true)?;
    if file == Path::new("-") {
        if io::stdout().is_terminal() {
            return Err(AppError::usage(
                "keys are not shown on a terminal: name a file, or pipe them into a program that encrypts them",
            ));
        }
        return output.bytes(render(&keys).as_bytes());
    }
    let path = path::absolute(file).context("there is no such path")?;
    export_to(&keys, &path, &runner.data_dir(), force)?;
    output.advice(&format!(
        "written to {}: whoever has it and the database, or a backup, has the tokens; keep them apart",
        path.display()
    ));
    Ok(())
}

fn print(output: Output, list: &KeyLines) -> Result<(), AppError> {
    let lines = list.keys.iter().map(line).collect::<String>();
    output.plain(&lines)?;
    if let Some(slots) = &list.unreadable {
        output.advice(&format!(
            "no key opens the tokens {slots}: they are refused, and want to be regenerated"
        ));
    }
    Ok(())
}

fn line(key: &KeyLine) -> String {
    format!(
        "{}  {}  {}  {}\n",
        key.id,
        key.ring,
        key.role,
        counted(key.tokens, "live token")
    )
}
