//! Restoring a backup, into a data directory that nobody uses.
//!
//! All is done on a copy beside the database: it is checked, merged with the database that is there, and
//! compared with the key file. One rename then makes it the database: whoever kills this finds the old
//! database or the new one.

use std::{
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use rusqlite::Connection;
use serde::Serialize;
use tower_workspace_token::{
    clock::{Clock as _, SystemClock},
    id::{SlotKey, WorkspaceId},
    store::journal::RollbackJournal,
};
use tower_workspace_token_sqlite::{
    MergedSlots, OpenErrorKind, Options, Provenance, SqliteStore, merge_slots,
};

use super::{empty, file::BackupFile, write::check_integrity};
use crate::{
    audit::{self, Note},
    caller::Caller,
    data_dir::{DataDir, DataDirLock, keys::KeySource},
    db::{self, Database, DatabaseError, Transaction, meta},
    error::{AppError, ErrorCode},
    key_check,
    rollback::{self, JournalChoice},
    text::counted,
    time, workspaces,
};

/// What is to be restored, and where.
#[derive(Debug)]
pub(crate) struct Restore {
    pub(crate) file: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) keys: KeySource,
    /// Which journal knows how far the tokens have come.
    pub(crate) rollback_journal: JournalChoice,
    /// A database that is there may be set aside.
    pub(crate) may_replace: bool,
    /// Tokens of which nobody knows whether they were rotated since may go on.
    pub(crate) keep_tokens: bool,
}

/// What was restored.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) made_at: String,
    pub(crate) workspaces: usize,
    pub(crate) slots: MergedSlots,
    /// Workspaces of the database that was there which the backup does not have.
    pub(crate) lost: Vec<LostWorkspace>,
    /// Why tokens ended.
    pub(crate) ended: EndedTokens,
    /// Where the database is that was there before.
    pub(crate) set_aside: Option<PathBuf>,
    /// The database that was there could not be read, so that nothing was taken over from it.
    pub(crate) lost_current: bool,
    /// The journal that the backup knows of, and that is not there: nothing watches over the tokens any longer.
    pub(crate) forgotten_journal: Option<PathBuf>,
}

/// A workspace that the backup does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LostWorkspace {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// How many tokens ended, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndedTokens {
    /// The workspace is archived in the backup.
    pub(crate) archived: usize,
    /// The backup does not have the workspace.
    pub(crate) lost: usize,
    /// Nobody knows whether they were rotated after the backup was made.
    pub(crate) unvouched: usize,
    /// The rollback journal knows that they were rotated or revoked after the backup was made.
    pub(crate) superseded: usize,
}

impl Restore {
    /// Restores; blocks for as long as it takes.
    pub(crate) fn run(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Restored, AppError> {
        let backup = BackupFile::open(&self.file)?;
        let made_by_us = !self.data_dir.exists();
        let data_dir = DataDir::open_or_create(&self.data_dir)?;
        let lock = take(&data_dir)?;
        let restored = self.run_alone(&data_dir, backup, progress);
        let _ = data_dir.clear_staging();
        if restored.is_err() && made_by_us {
            data_dir.unmake();
        }
        drop(lock);
        restored
    }

    fn run_alone(
        &self,
        data_dir: &DataDir,
        backup: BackupFile,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Restored, AppError> {
        if data_dir.has_database() && !self.may_replace {
            return Err(AppError::new(
                ErrorCode::AlreadyExists,
                format!(
                    "the data directory {} holds a database already: give --force to set it aside (it is kept), or another --data-dir; nothing was changed",
                    data_dir.path().display()
                ),
            ));
        }
        let staging = data_dir.clear_staging()?;
        let mut copy = data_dir.create_staging()?;
        backup
            .extract(&mut copy, progress)
            .and_then(|()| Ok(copy.sync_all()?))
            .map_err(|error| explain(error, data_dir))?;
        drop(copy);
        // First the copy, so that the database which is there is not touched for one that is no good.
        let (store, database) = open_copy(&staging)?;
        let current = Current::find(data_dir)?;
        let journal = open_journal(&current, &store, &self.rollback_journal)?;
        let Journal { found, forgotten } = journal;
        let restored = self.prepare(&store, current.path(), found.as_ref(), data_dir)?;
        drop(database);
        drop(store);
        File::open(&staging)
            .and_then(|file| file.sync_all())
            .context("cannot sync the copy")?;
        let set_aside = current.set_aside(data_dir)?;
        data_dir
            .adopt_staging()
            .context("cannot put the restored database into its place")?;
        if let Some((_, journal)) = found {
            // Not before: until then the database that was there is the one that the journal goes with.
            raise_to_floors(data_dir, journal).context(
                "the database is restored, and the rollback journal is not up to date: start the server, and run `wst workspace unlock` for each workspace that it says is locked",
            )?;
        }
        Ok(Restored {
            set_aside,
            lost_current: matches!(current, Current::Unreadable),
            forgotten_journal: forgotten,
            ..restored
        })
    }

    /// Makes the copy what the database is to be.
    fn prepare(
        &self,
        store: &SqliteStore,
        current: Option<&Path>,
        journal: Option<&(PathBuf, RollbackJournal)>,
        data_dir: &DataDir,
    ) -> Result<Restored, AppError> {
        let mut copy = store.connection().map_err(anyhow::Error::from)?;
        check_integrity(&copy)?;
        let made_at = meta::get(&Transaction::of(&copy), meta::BACKUP_MADE_AT)?;
        let made_at = made_at.and_then(|millis| millis.parse().ok());
        let made_at = made_at.context("the file is no backup that `wst backup` has made")?;
        let all = workspaces::list(&Transaction::of(&copy))?;
        let is_archived: HashMap<WorkspaceId, bool> = all
            .iter()
            .map(|workspace| (workspace.id, workspace.archived))
            .collect();
        let mut ended = EndedTokens::default();
        let judge = |key: &SlotKey, generation, provenance| {
            let floor = journal.and_then(|(_, journal)| journal.floor(key));
            let reached = floor.map(|floor| generation >= floor.generation);
            let is_vouched_for = provenance == Provenance::CurrentDatabase || reached == Some(true);
            let reason = match is_archived.get(&key.workspace) {
                None => &mut ended.lost,
                Some(true) => &mut ended.archived,
                Some(false) if reached == Some(false) => &mut ended.superseded,
                Some(false) if self.keep_tokens || is_vouched_for => return true,
                Some(false) => &mut ended.unvouched,
            };
            *reason += 1;
            false
        };
        let slots = merge_slots(&mut copy, current, SystemClock.now(), judge)
            .map_err(|error| anyhow!(error).context("cannot merge the tokens"))?;
        let lost = match current {
            None => Vec::new(),
            Some(current) => take_over(&mut copy, current, &slots)
                .context("cannot take over what was changed since the backup")?,
        };
        finish(&mut copy, made_at, &slots, lost.len())?;
        // Before the database is in its place: one that is killed in between has its journal all the same.
        match journal {
            Some((path, journal)) => {
                rollback::remember(&Transaction::of(&copy), path, journal.id())?
            }
            None => rollback::forget(&Transaction::of(&copy))?,
        }
        check_keys(&copy, &self.keys, data_dir)?;
        Ok(Restored {
            made_at: time::rfc3339(made_at),
            workspaces: all.len(),
            slots,
            lost,
            ended,
            set_aside: None,
            lost_current: false,
            forgotten_journal: None,
        })
    }
}

/// The database that is in the data directory.
enum Current {
    None,
    Readable(PathBuf),
    /// There is one, and nobody can tell what it knows.
    Unreadable,
}

impl Current {
    /// Opens and closes the database that is there: the tables are of this version then, and nothing of
    /// it is in a log.
    fn find(data_dir: &DataDir) -> Result<Self, AppError> {
        if !data_dir.has_database() {
            return Ok(Self::None);
        }
        let path = data_dir.database();
        let store = match Options::new(&path).exclusive().open() {
            Ok(store) => store,
            Err(error) => {
                return match error.kind() {
                    OpenErrorKind::Corrupt
                    | OpenErrorKind::Foreign
                    | OpenErrorKind::NotADatabase => Ok(Self::Unreadable),
                    _ => Err(anyhow::Error::from(error)
                        .context(format!("cannot use the database {}", path.display()))
                        .into()),
                };
            }
        };
        if is_newer(&store)? {
            return Err(AppError::new(
                ErrorCode::Failed,
                format!(
                    "the database {} was made by a newer `wst`: restore with that one; nothing was changed",
                    path.display()
                ),
            ));
        }
        match Database::open(&store) {
            Ok(_) => Ok(Self::Readable(path)),
            Err(_) => Ok(Self::Unreadable),
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Readable(path) => Some(path),
            Self::None | Self::Unreadable => None,
        }
    }

    /// Gives the database a second, dated name, so that it stays when the first one is taken.
    fn set_aside(&self, data_dir: &DataDir) -> Result<Option<PathBuf>, AppError> {
        if matches!(self, Self::None) {
            // An empty file, at most: but a log without its database would be taken for the new one's.
            data_dir.clear_logs().context("cannot remove an old log")?;
            return Ok(None);
        }
        let aside = data_dir
            .keep_database(&time::file_stamp())
            .context("cannot set the database aside that is there")?;
        Ok(Some(aside))
    }
}

/// The journal that knows how far the tokens have come.
struct Journal {
    found: Option<(PathBuf, RollbackJournal)>,
    /// One that the backup alone knows of, and that is not there.
    forgotten: Option<PathBuf>,
}

/// Opens the journal that was named, or that the database was used with which is there, or else the backup.
fn open_journal(
    current: &Current,
    backup: &SqliteStore,
    choice: &JournalChoice,
) -> Result<Journal, AppError> {
    let current = current.path().map(Connection::open).transpose();
    let current = current.context("cannot look at the database that is there")?;
    let backup = backup.connection().map_err(anyhow::Error::from)?;
    let found = rollback::open_for_restore(current.as_ref(), &backup, choice)?;
    let known = rollback::known_path(&Transaction::of(&backup))?;
    Ok(Journal {
        forgotten: known.filter(|_| found.is_none()),
        found,
    })
}

/// Ends, in the restored database, what the journal knows to have ended.
fn raise_to_floors(data_dir: &DataDir, journal: RollbackJournal) -> anyhow::Result<()> {
    let (store, _database) = open_copy(&data_dir.database())?;
    let guarded = rollback::compare(&store, journal)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        for workspace in guarded.locked() {
            guarded
                .unlock(&workspace, SystemClock.now(), Some("restore"))
                .await?;
        }
        Ok(())
    })
}

/// Opens the copy as a server would, which brings it to this version.
fn open_copy(path: &Path) -> Result<(SqliteStore, Database), AppError> {
    let store = Options::new(path).exclusive().open().map_err(|error| {
        let sentence = match error.kind() {
            OpenErrorKind::Newer => NEWER,
            OpenErrorKind::Foreign | OpenErrorKind::NotADatabase => {
                "the file is no backup that `wst backup` has made; nothing was changed"
            }
            _ => "the backup cannot be opened; nothing was changed",
        };
        AppError::from(anyhow::Error::from(error).context(sentence))
    })?;
    if is_newer(&store)? {
        return Err(AppError::new(ErrorCode::Failed, NEWER));
    }
    let database = Database::open(&store).map_err(AppError::from)?;
    Ok((store, database))
}

/// Takes over what keeps people out: whoever was shut out since the backup stays out. Returns the workspaces
/// that are not taken over.
fn take_over(
    copy: &mut Connection,
    current: &Path,
    slots: &MergedSlots,
) -> Result<Vec<LostWorkspace>, DatabaseError> {
    copy.execute(
        "ATTACH DATABASE ?1 AS present",
        [current.to_string_lossy().as_ref()],
    )?;
    let transaction = copy.transaction()?;
    transaction.execute_batch(
        "UPDATE main.users SET password = theirs.password, disabled_at = theirs.disabled_at,
             is_administrator = theirs.is_administrator
         FROM present.users AS theirs WHERE theirs.id = main.users.id;
         DELETE FROM main.members
         WHERE workspace IN (SELECT id FROM present.workspaces)
             AND user IN (SELECT id FROM present.users)
             AND (workspace, user) NOT IN (SELECT workspace, user FROM present.members);
         INSERT INTO main.meta (key, value) SELECT key, value FROM present.meta WHERE key = 'seal'
         ON CONFLICT (key) DO UPDATE SET value = excluded.value;",
    )?;
    if slots.live_of_backup == 0 {
        // No row is left that needs the keys of then.
        transaction.execute_batch("DELETE FROM main.required_keys")?;
    }
    transaction.execute_batch(
        "INSERT INTO main.required_keys (ring, id, since)
         SELECT ring, id, since FROM present.required_keys WHERE true ON CONFLICT DO NOTHING",
    )?;
    let lost = lost_workspaces(&transaction)?;
    transaction.commit()?;
    copy.execute_batch("DETACH DATABASE present")?;
    Ok(lost)
}

fn lost_workspaces(transaction: &Connection) -> Result<Vec<LostWorkspace>, DatabaseError> {
    let mut statement = transaction.prepare(
        "SELECT id, name FROM present.workspaces
         WHERE id NOT IN (SELECT id FROM main.workspaces) ORDER BY created_at, id",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(LostWorkspace {
            id: row.get(0)?,
            name: row.get(1)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns whether the server's tables beside those of `store` were made by a newer `wst`.
fn is_newer(store: &SqliteStore) -> anyhow::Result<bool> {
    let connection = store.connection()?;
    Ok(db::is_newer(&Transaction::of(&connection)))
}

/// Takes out what must not outlive a restore, and keeps in the audit list that there was one.
fn finish(
    copy: &mut Connection,
    made_at: i64,
    slots: &MergedSlots,
    lost: usize,
) -> Result<(), AppError> {
    let transaction = copy.transaction().map_err(DatabaseError::from)?;
    empty(&Transaction::of(&transaction))?;
    meta::remove(&Transaction::of(&transaction), meta::BACKUP_MADE_AT)?;
    let note = Note::new("backup.restore")
        .about(time::rfc3339(made_at))
        .with_detail(format!(
            "{} live, {} carried over, {} revoked; {} not in it",
            counted(slots.live, "token"),
            slots.carried_over,
            slots.revoked,
            counted(lost, "workspace")
        ));
    audit::insert(
        &Transaction::of(&transaction),
        &Caller::CommandLine,
        None,
        &note,
    )?;
    transaction.commit().map_err(DatabaseError::from)?;
    Ok(())
}

fn check_keys(copy: &Connection, source: &KeySource, data_dir: &DataDir) -> Result<(), AppError> {
    let file = source.file(data_dir);
    let path = file.path().display();
    let held = match file.path().exists() {
        true => key_check::held(&file.read()?),
        false => Vec::new(),
    };
    let missing = key_check::missing(&Transaction::of(copy), &held)?;
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = missing
        .iter()
        .map(|(ring, id)| format!("{ring} {id}"))
        .collect();
    let problem = match held.is_empty() {
        true => format!("there is no key file at {path}"),
        false => format!("the key file {path} is another one"),
    };
    Err(AppError::new(
        ErrorCode::Failed,
        format!(
            "{problem}: the backup needs the keys {}; put the copy of its key file there first (in a directory of mode 0700), or say with --key-file where it is; nothing was changed",
            names.join(", ")
        ),
    ))
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
            "a server uses the data directory {}: stop it first, or restore into another --data-dir; nothing was changed",
            data_dir.path().display()
        ),
    ))
}

fn explain(error: anyhow::Error, data_dir: &DataDir) -> AppError {
    let is_full = error.chain().any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(
            kind,
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        )
    });
    if is_full {
        return AppError::new(
            ErrorCode::Failed,
            format!(
                "there is no room for the database in {}: make room there; nothing was changed",
                data_dir.path().display()
            ),
        );
    }
    error.into()
}

const NEWER: &str =
    "the backup was made by a newer `wst`: restore with that one; nothing was changed";
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);
