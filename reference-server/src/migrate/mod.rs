//! Moving a data directory into a PostgreSQL database.
//!
//! The file is read while nobody writes it, and stays as it is. The target is marked before the first row is
//! written, and no server uses it until every row was compared and the mark says so: whoever kills this in between,
//! and runs it again, goes on where it was.

mod plan;
mod source;
mod target;
mod tokens;

use std::{collections::BTreeMap, path::PathBuf, thread, time::Duration};

use anyhow::Context as _;
use tower_workspace_token::id::SlotKey;

use crate::{
    data_dir::{DataDir, DataDirLock},
    db::{self, DatabasePlace},
    error::{AppError, ErrorCode},
    rollback::{self, JournalChoice},
    time,
};
use plan::Table;
use source::{PAGE_ROWS, Source, key_of, row_name};
use target::{Standing, Target};

/// What is to be moved, and where.
#[derive(Debug)]
pub(crate) struct Migrate {
    pub(crate) data_dir: PathBuf,
    pub(crate) to: DatabasePlace,
    pub(crate) rollback_journal: JournalChoice,
    /// Nothing is written: what was moved is compared.
    pub(crate) verify_only: bool,
}

/// What was moved.
#[derive(Debug)]
pub(crate) struct Migrated {
    /// The PostgreSQL database, without a password.
    pub(crate) database: String,
    /// How many rows each table has.
    pub(crate) tables: BTreeMap<String, u64>,
    /// How many slots there are, ended ones among them.
    pub(crate) tokens: usize,
    /// How many rows and slots were written, and not found there.
    pub(crate) written: u64,
    /// The database is one that servers may use.
    pub(crate) is_complete: bool,
    /// The database that was moved.
    pub(crate) file: PathBuf,
    /// The journal that watched over the file, and watches over nothing from here on.
    pub(crate) journal: Option<PathBuf>,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Comparing,
    Copying,
}

/// Tells somebody how far it is.
struct Progress<'p> {
    show: &'p mut dyn FnMut(Stage, u64, u64),
    stage: Stage,
    done: u64,
    total: u64,
}

impl Progress<'_> {
    fn begin(&mut self, stage: Stage) {
        self.stage = stage;
        self.done = 0;
        self.add(0);
    }

    fn add(&mut self, rows: usize) {
        self.done += rows as u64;
        (self.show)(self.stage, self.done.min(self.total), self.total);
    }
}

/// What the file holds.
struct Contents {
    tables: Vec<Table>,
    rows: BTreeMap<String, u64>,
    slots: Vec<SlotKey>,
}

impl Migrate {
    /// Moves, or compares.
    pub(crate) async fn run(
        &self,
        show: &mut dyn FnMut(Stage, u64, u64),
    ) -> Result<Migrated, AppError> {
        let Some(database) = self.to.name() else {
            return Err(AppError::usage(
                "the database to move to is postgres://USER:PASSWORD@HOST:PORT/DATABASE",
            ));
        };
        let data_dir = DataDir::open(&self.data_dir)?;
        let _lock = take(&data_dir)?;
        if !data_dir.has_database() {
            return Err(AppError::new(
                ErrorCode::NoDataDir,
                format!(
                    "the data directory {} holds no database: there is nothing to move",
                    data_dir.path().display()
                ),
            ));
        }
        let noted = data_dir.noted_database()?;
        if let Some(noted) = noted.as_ref().filter(|noted| **noted != database) {
            return Err(AppError::new(
                ErrorCode::Conflict,
                format!(
                    "the data directory {} goes with {noted} already, so its file is out of date; nothing was changed",
                    data_dir.path().display()
                ),
            ));
        }
        let source = source::open(&data_dir.database())?;
        let journal = self.check_journal(&source).await?;
        let tables = source.tables().await?;
        source.refuse_nul(&tables).await?;
        let contents = Contents::read(&source, tables).await?;
        let id = source.id().await?;
        let target = self.open_target().await?;
        target.check_tables(&contents.tables).await?;
        let standing = target.standing(&id, &contents.tables).await?;
        let mut progress = Progress {
            show,
            stage: Stage::Copying,
            done: 0,
            total: contents.total(),
        };
        let mut written = 0;
        match standing {
            _ if self.verify_only && standing == Standing::Empty => {
                return Err(AppError::new(
                    ErrorCode::NotFound,
                    "the PostgreSQL database is empty: nothing was moved there",
                ));
            }
            Standing::Empty | Standing::Copying if self.verify_only => {}
            Standing::Empty if noted.is_some() => {
                return Err(AppError::new(
                    ErrorCode::Conflict,
                    format!(
                        "the data directory {} goes with {database} already, where its data is no longer: put that database back from a backup of it; if the file is to be moved once more, as old as it is, start `wst serve --database sqlite` first; nothing was changed",
                        data_dir.path().display()
                    ),
                ));
            }
            Standing::Empty | Standing::Copying => {
                if standing == Standing::Empty {
                    target.begin(&id, &contents.tables).await?;
                }
                written = copy(&source, &target, &contents, &mut progress)
                    .await
                    .map_err(broken_off)?;
            }
            Standing::Complete(_) => {}
        }
        progress.begin(Stage::Comparing);
        compare(&source, &target, &contents, &mut progress)
            .await
            .map_err(|error| explain_difference(error, standing))?;
        let mut is_complete = matches!(standing, Standing::Complete(_));
        if !self.verify_only {
            // First the note: from the mark on, the database may be used, and then nobody may serve the file.
            data_dir.note_kind(&self.to)?;
            if !is_complete {
                target.complete().await?;
                is_complete = true;
            }
        }
        target.store.close().await;
        Ok(Migrated {
            database,
            tokens: contents.slots.len(),
            tables: contents.rows,
            written,
            is_complete,
            file: data_dir.database(),
            journal,
        })
    }

    async fn open_target(&self) -> anyhow::Result<Target> {
        let DatabasePlace::Postgres(url) = &self.to else {
            anyhow::bail!("the database to move to is a PostgreSQL database");
        };
        let (store, database) = db::connect(url).await?;
        Ok(Target { store, database })
    }

    /// Refuses a file that its journal knows to be an old copy; returns the journal, if there is one.
    async fn check_journal(&self, source: &Source) -> Result<Option<PathBuf>, AppError> {
        let opened = rollback::open(&source.store, &source.database, &self.rollback_journal);
        let Some((path, guarded)) = opened.await? else {
            return Ok(None);
        };
        let locked: Vec<String> = guarded.locked().iter().map(ToString::to_string).collect();
        if locked.is_empty() {
            return Ok(Some(path));
        }
        Err(AppError::new(
            ErrorCode::Conflict,
            format!(
                "the rollback journal says that tokens of these workspaces are those of an old copy: {}; in PostgreSQL nothing would keep them from being accepted: put the right database back, or run `wst workspace unlock` for each; nothing was changed",
                locked.join(", ")
            ),
        ))
    }
}

impl Contents {
    async fn read(source: &Source, tables: Vec<Table>) -> anyhow::Result<Self> {
        let mut rows = BTreeMap::new();
        for table in &tables {
            rows.insert(table.name.clone(), source.count(table).await?);
        }
        Ok(Self {
            tables,
            rows,
            slots: source.slots().await?,
        })
    }

    fn total(&self) -> u64 {
        self.rows.values().sum::<u64>() + self.slots.len() as u64
    }
}

/// Writes whatever is not there yet; returns how much that was.
async fn copy(
    source: &Source,
    target: &Target,
    contents: &Contents,
    progress: &mut Progress<'_>,
) -> anyhow::Result<u64> {
    let mut written = 0;
    for table in &contents.tables {
        written += copy_table(source, target, table, progress)
            .await
            .with_context(|| format!("table {}", table.name))?;
    }
    written += tokens::copy(source, target, &contents.slots, progress)
        .await
        .context("tokens")?;
    target.set_facts(source.facts().await?).await?;
    for table in contents.tables.iter().filter(|table| table.is_numbered) {
        let last = source.last_number(table).await?;
        target.number_after(table, last).await?;
    }
    Ok(written)
}

/// Returns how many rows were written.
async fn copy_table(
    source: &Source,
    target: &Target,
    table: &Table,
    progress: &mut Progress<'_>,
) -> anyhow::Result<u64> {
    let (mut after, found) = target.reached(table).await?;
    progress.add(usize::try_from(found)?);
    let mut copied = 0;
    let mut page = source.page(table, after.take()).await?;
    while let Some(last) = page.last() {
        let after = Some(key_of(table, last));
        // While one is written, the next one is read.
        let (written, next) = tokio::join!(target.insert(table, &page), source.page(table, after));
        written?;
        progress.add(page.len());
        copied += page.len() as u64;
        page = next?;
    }
    Ok(copied)
}

/// Compares every column of every row, in both directions.
async fn compare(
    source: &Source,
    target: &Target,
    contents: &Contents,
    progress: &mut Progress<'_>,
) -> anyhow::Result<()> {
    for table in &contents.tables {
        compare_table(source, target, table, progress).await?;
    }
    tokens::compare(source, target, &contents.slots, progress).await?;
    if source.facts().await? != target.facts().await? {
        return Err(differs("table meta", "has another content").into());
    }
    for table in contents.tables.iter().filter(|table| table.is_numbered) {
        if target.last_number(table).await? < source.last_number(table).await? {
            let what = "would give a number to its next row that was given before";
            return Err(differs(&format!("table {}", table.name), what).into());
        }
    }
    Ok(())
}

async fn compare_table(
    source: &Source,
    target: &Target,
    table: &Table,
    progress: &mut Progress<'_>,
) -> anyhow::Result<()> {
    let mut after = None;
    loop {
        let ours = source.page(table, after.clone()).await?;
        let last = ours.last();
        let most = if last.is_some() { ours.len() } else { 0 };
        let theirs = target.between(table, after.as_deref(), last, most);
        let theirs = theirs.await?;
        let differing = ours
            .iter()
            .zip(&theirs)
            .find(|(ours, theirs)| ours != theirs);
        if let Some((ours, theirs)) = differing {
            return Err(difference(table, ours, theirs).into());
        }
        if let Some(missing) = ours.get(theirs.len()) {
            return Err(differs(&row_name(table, missing), "is missing in PostgreSQL").into());
        }
        if let Some(more) = theirs.get(ours.len()) {
            return Err(differs(&row_name(table, more), "is in PostgreSQL alone").into());
        }
        let Some(last) = last else {
            return Ok(());
        };
        after = Some(key_of(table, last));
        progress.add(ours.len());
        debug_assert!(ours.len() <= PAGE_ROWS);
    }
}

/// Says what two rows differ in that stand at the same place.
fn difference(table: &Table, ours: &source::Record, theirs: &source::Record) -> AppError {
    if key_of(table, ours) != key_of(table, theirs) {
        let named = format!("{} or {}", row_name(table, ours), row_name(table, theirs));
        return differs(&named, "is on one side alone");
    }
    let columns = table.columns.iter().zip(ours.iter().zip(theirs));
    let differing: Vec<&str> = columns
        .filter(|(_, (ours, theirs))| ours != theirs)
        .map(|(column, _)| column.as_str())
        .collect();
    let what = format!("differs in {}", differing.join(", "));
    differs(&row_name(table, ours), &what)
}

fn differs(what: &str, how: &str) -> AppError {
    AppError::new(
        ErrorCode::Conflict,
        format!("the file and PostgreSQL are not the same: {what} {how}"),
    )
}

/// Adds what to do about a difference.
fn explain_difference(error: anyhow::Error, standing: Standing) -> AppError {
    let advice = match standing {
        Standing::Complete(at) => format!(
            "they were at {}, when the move was done, so one of them was used since",
            time::rfc3339(at)
        ),
        _ => "the move is not done; if the file was used since it began, or somebody else wrote to PostgreSQL, drop that database, make it again, and run the same command".to_owned(),
    };
    match error.downcast::<AppError>() {
        Ok(error) if error.code() == ErrorCode::Conflict => {
            AppError::new(ErrorCode::Conflict, format!("{error}; {advice}"))
        }
        Ok(error) => error,
        Err(error) => broken_off(error),
    }
}

fn broken_off(error: anyhow::Error) -> AppError {
    error
        .context(
            "the move was broken off, and goes on from there when the same command is run again",
        )
        .into()
}

/// Takes the data directory, which a command may still hold for a moment.
fn take(data_dir: &DataDir) -> Result<DataDirLock, AppError> {
    for _ in 0..ATTEMPTS {
        if let Some(lock) = data_dir.try_lock()? {
            return Ok(lock);
        }
        thread::sleep(PAUSE);
    }
    Err(AppError::new(
        ErrorCode::Unavailable,
        format!(
            "a server uses the data directory {}: stop it first, since what is moved must not change meanwhile; nothing was changed",
            data_dir.path().display()
        ),
    ))
}

const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);
