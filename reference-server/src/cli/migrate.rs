//! `wst migrate`: moves a data directory into a PostgreSQL database, without asking a server: there must be none.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    args::MigrateCommand,
    output::Output,
    progress::{Progress, Unit},
};
use crate::{
    config::{GlobalOptions, ServerOptions, Settings, read_secret},
    db::DatabasePlace,
    error::AppError,
    logging,
    migrate::{Migrate, Migrated, Stage},
    text::counted,
};

/// What `migrate --json` prints.
#[derive(Debug, Serialize)]
struct MovedDataDir {
    /// Without a password.
    database: String,
    /// Servers may use it.
    complete: bool,
    /// Rows and tokens that were written by this run.
    written: u64,
    /// Rows and tokens that were compared, each with all its columns.
    compared: u64,
    tokens: usize,
    tables: BTreeMap<String, u64>,
}

pub(super) fn migrate(
    global: &GlobalOptions,
    output: Output,
    command: MigrateCommand,
) -> Result<(), AppError> {
    let settings = Settings::settle(global, ServerOptions::from_variables()?)?;
    if global.log.is_some() {
        logging::start(&settings.log)?;
    }
    let url = match (command.to, command.to_file) {
        (Some(url), _) => url,
        (None, Some(file)) => read_secret(&file)?,
        (None, None) => {
            return Err(AppError::usage(
                "where to? Give --to postgres://…, --to-file FILE or WST_MIGRATE_TO",
            ));
        }
    };
    let migrate = Migrate {
        data_dir: settings.data_dir,
        to: DatabasePlace::read(url)?,
        rollback_journal: settings.at_rest.rollback_journal,
        verify_only: command.verify_only,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)?;
    let mut shown: Option<(Stage, Progress)> = None;
    let mut show = |stage, done, total| {
        if shown.as_ref().is_none_or(|(before, _)| *before != stage) {
            drop(shown.take());
            shown = Some((stage, Progress::new(output, word(stage), Unit::Rows)));
        }
        if let Some((_, progress)) = &mut shown {
            progress.set(done, total);
        }
    };
    let moved = runtime.block_on(migrate.run(&mut show))?;
    drop(shown);
    output.outcome(&MovedDataDir::of(&moved), |output, shown| {
        let what = format!(
            "{}: {} and {}, every row compared\n",
            shown.database,
            counted(
                shown.tables.get("workspaces").copied().unwrap_or(0) as usize,
                "workspace"
            ),
            counted(shown.tokens, "token")
        );
        match migrate.verify_only {
            true => output.plain(&format!("the same as in {what}"))?,
            false => output.plain(&format!("moved to {what}"))?,
        }
        advise(output, &moved, migrate.verify_only);
        Ok(())
    })
}

impl MovedDataDir {
    fn of(moved: &Migrated) -> Self {
        Self {
            database: moved.database.clone(),
            complete: moved.is_complete,
            written: moved.written,
            compared: moved.tables.values().sum::<u64>() + moved.tokens as u64,
            tokens: moved.tokens,
            tables: moved.tables.clone(),
        }
    }
}

fn advise(output: Output, moved: &Migrated, verify_only: bool) {
    if !moved.is_complete {
        output.advice("the move is not marked as done: run `wst migrate` without --verify-only");
    }
    if verify_only {
        return;
    }
    output.advice("the key file stays where it is, and is needed as before; a server on another machine needs a copy of it");
    output.advice("set WST_DATABASE, or WST_DATABASE_FILE for a URL with a password, to the same database, and start `wst serve`");
    output.advice(&format!(
        "{} is left as it is, and must not be served again: tokens that are rotated from here on would still be accepted there; `wst serve` without a --database refuses to",
        moved.file.display()
    ));
    if let Some(journal) = &moved.journal {
        output.advice(&format!(
            "the rollback journal {} goes with the file alone: leave WST_ROLLBACK_JOURNAL out from here on",
            journal.display()
        ));
    }
    output.advice(
        "one-time links that were sent and not used are void: `wst user login-link` makes new ones",
    );
}

fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Comparing => "comparing",
        Stage::Copying => "moving",
    }
}
