//! `wst backup` and `wst restore`.

use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::{
    args::{BackupCommand, RestoreCommand},
    commands::Run,
    output::Output,
    printable,
    progress::{Progress, Unit},
    runner::Runner,
};
use crate::{
    actions::BackupWrite,
    backup::restore::{LostWorkspace, Restore, Restored},
    config::{GlobalOptions, ServerOptions, Settings},
    error::AppError,
    logging,
    progress::JobKind,
    text::counted,
};

impl Run for BackupCommand {
    async fn run(self, runner: &Runner, output: Output) -> Result<(), AppError> {
        let action = BackupWrite {
            // The server that writes it may be somewhere else.
            file: absolute(&self.file)?,
            force: self.force,
        };
        let progress = Progress::new(output, "backing up", Unit::Bytes);
        let written = runner
            .call_showing(action, JobKind::Backup, progress)
            .await?;
        output.outcome(&written, |output, written| {
            output.plain(&format!(
                "{}  {} bytes, checked\n",
                written.file, written.bytes
            ))?;
            let keys = written.keys.iter();
            let keys: Vec<String> = keys.map(|key| format!("{} {}", key.ring, key.id)).collect();
            output.advice(&format!(
                "it needs the keys {}, which are not in it: keep a copy of {} too, in another place",
                keys.join(", "),
                written.key_file
            ));
            Ok(())
        })
    }
}

/// What `restore --json` prints.
#[derive(Debug, Serialize)]
struct RestoredBackup {
    /// When the backup was made.
    made_at: String,
    workspaces: usize,
    tokens_live: usize,
    /// Slots that were newer in the database that was there.
    tokens_carried_over: usize,
    tokens_revoked: usize,
    /// Those of them whose workspace the backup does not have.
    tokens_lost: usize,
    /// Workspaces that were there, and that the backup does not have.
    workspaces_lost: Vec<LostWorkspace>,
    set_aside: Option<String>,
}

/// Restores a backup, without asking a server: there must be none.
pub(super) fn restore(
    global: &GlobalOptions,
    output: Output,
    command: RestoreCommand,
) -> Result<(), AppError> {
    let server = ServerOptions {
        key_file: command.key_file,
        rollback_journal: command.rollback_journal,
        ..ServerOptions::from_variables()?
    };
    let settings = Settings::settle(global, server)?;
    if global.log.is_some() {
        logging::start(&settings.log)?;
    }
    let restore = Restore {
        file: command.file,
        data_dir: settings.data_dir,
        keys: settings.keys,
        rollback_journal: settings.at_rest.rollback_journal,
        may_replace: command.force,
        keep_tokens: command.keep_tokens,
    };
    let mut progress = Progress::new(output, "restoring", Unit::Bytes);
    let restored = restore.run(&mut |done, total| progress.set(done, total))?;
    drop(progress);
    output.outcome(&RestoredBackup::of(&restored), |output, shown| {
        output.plain(&format!(
            "restored the backup of {}: {}, {}\n",
            shown.made_at,
            counted(shown.workspaces, "workspace"),
            counted(shown.tokens_live, "live token")
        ))?;
        advise(output, &restored, restore.keep_tokens);
        Ok(())
    })
}

impl RestoredBackup {
    fn of(restored: &Restored) -> Self {
        Self {
            made_at: restored.made_at.clone(),
            workspaces: restored.workspaces,
            tokens_live: restored.slots.live,
            tokens_carried_over: restored.slots.carried_over,
            tokens_revoked: restored.slots.revoked,
            tokens_lost: restored.ended.lost,
            workspaces_lost: restored.lost.clone(),
            set_aside: restored
                .set_aside
                .as_ref()
                .map(|path| path.display().to_string()),
        }
    }
}

fn advise(output: Output, restored: &Restored, keep_tokens: bool) {
    if let Some(path) = &restored.set_aside {
        output.advice(&format!(
            "the database that was there is kept as {}",
            path.display()
        ));
    }
    if restored.lost_current {
        output.advice("it could not be read, so nothing was taken over from it");
    }
    if let Some(path) = &restored.forgotten_journal {
        output.advice(&format!(
            "no rollback journal is in use from here on: the backup knows of {}, which is not there; name it with --rollback-journal, or begin a new one so",
            path.display()
        ));
    }
    if !restored.lost.is_empty() {
        output.advice(&format!(
            "not in the backup, and gone from here with all that is in them: {} ({}); the database that was there has them",
            counted(restored.lost.len(), "workspace"),
            names(&restored.lost)
        ));
    }
    let ended = restored.ended;
    // What was taken over of a workspace that is gone, or archived again, has ended right away.
    let ended_after_all = ended.lost + ended.archived;
    let carried_over = restored.slots.carried_over.saturating_sub(ended_after_all);
    for (tokens, what, after) in [
        (
            carried_over,
            "rotated, revoked or created after the backup, and left so",
            "",
        ),
        (
            ended.lost,
            "ended, since their workspaces are not in the backup",
            "",
        ),
        (
            ended.archived,
            "ended, since their workspaces are archived in the backup",
            "",
        ),
        (
            ended.superseded,
            "ended, since the rollback journal knows that they were rotated or revoked after the backup",
            "; `wst token create` makes new ones",
        ),
        (
            ended.unvouched,
            "ended, since nobody here knows what was rotated after the backup",
            "; `wst token create` makes new ones",
        ),
    ] {
        if tokens > 0 {
            output.advice(&format!("{what}: {}{after}", counted(tokens, "token")));
        }
    }
    if keep_tokens && restored.slots.live_of_backup > 0 {
        output.advice(&format!(
            "as they were when the backup was made: {}; one that was rotated or revoked after that works again, so regenerate it, and see to it that the former server is not started again",
            counted(restored.slots.live_of_backup, "token")
        ));
    }
    output.advice("everybody has to log in again");
}

/// Names the first few, and how many more there are.
fn names(workspaces: &[LostWorkspace]) -> String {
    let shown = workspaces.iter().take(MOST_NAMED);
    let mut names: Vec<String> = shown
        .map(|workspace| format!("{} {}", workspace.id, printable::line(&workspace.name)))
        .collect();
    if workspaces.len() > MOST_NAMED {
        names.push(format!("{} more", workspaces.len() - MOST_NAMED));
    }
    names.join(", ")
}

fn absolute(path: &Path) -> Result<String, AppError> {
    let path = std::path::absolute(path).context("there is no such path")?;
    let text = path.into_os_string().into_string();
    text.map_err(|_| AppError::invalid("the path of the backup is no text"))
}

const MOST_NAMED: usize = 20;
