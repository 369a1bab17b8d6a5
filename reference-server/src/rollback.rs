//! The rollback journal of the database: where it is, and whether it goes with it.
//!
//! The database keeps the path and the id of the journal it was last used with, so that commands without a
//! server write it too, and so that a volume that is not mounted is noticed rather than a new journal begun.

use std::{
    convert::Infallible,
    fmt,
    path::{self, Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, bail};
use rusqlite::Connection;
use tower_workspace_token::store::journal::{
    JournalError, JournalErrorKind, JournaledStore, RollbackJournal,
};
use tower_workspace_token_sqlite::{SqliteStore, for_each_slot};

use crate::db::{Database, DatabaseError, Transaction, meta};

/// Which journal is to be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum JournalChoice {
    /// The one that the database was last used with, if any.
    #[default]
    AsBefore,
    /// None, from here on.
    None,
    /// The one at this path, which is made if the database never had one.
    At(PathBuf),
}

/// The store under the watch of its journal.
pub(crate) type GuardedStore = JournaledStore<SqliteStore>;

/// Opens the journal that `choice` says, compares the rows of `store` with it, and keeps which one it is.
pub(crate) async fn open(
    store: &SqliteStore,
    database: &Database,
    choice: &JournalChoice,
) -> anyhow::Result<Option<(PathBuf, GuardedStore)>> {
    let known = database.read(known).await?;
    let path = match (choice, &known) {
        (JournalChoice::None, _) => {
            if let Some(known) = known {
                tracing::warn!(path = %known.path.display(), "the rollback journal is no longer used: an old copy of the database goes unnoticed from here on");
                database.write(forget).await?;
            }
            return Ok(None);
        }
        (JournalChoice::AsBefore, None) => return Ok(None),
        (JournalChoice::AsBefore, Some(known)) => known.path.clone(),
        (JournalChoice::At(path), _) => path::absolute(path)
            .with_context(|| format!("cannot use the rollback journal {}", path.display()))?,
    };
    if path.to_str().is_none() {
        bail!(
            "the path of the rollback journal is no text: give it another name; nothing was changed"
        );
    }
    let journal = open_or_create(&path, known.as_ref())?;
    let id = journal.id().to_owned();
    let guarded = compare(store, journal)
        .with_context(|| format!("cannot use the rollback journal {}", path.display()))?;
    let known = Known { path, id };
    warn_of_same_volume(&known.path, store.path());
    let kept = known.clone();
    database
        .write(move |transaction| remember(transaction, &kept.path, &kept.id))
        .await?;
    for workspace in guarded.locked() {
        tracing::error!(%workspace, "workspace locked: its rows are older than the rollback journal says, so an old copy of the database was put back; put the right one back, or run `wst workspace unlock`, which ends the tokens that came back");
    }
    Ok(Some((known.path, guarded)))
}

/// Stops whoever wants a journal of a database that others write too: of what they do it would know nothing, and
/// take them for an old copy that was put back.
pub(crate) fn refuse(choice: &JournalChoice) -> anyhow::Result<Option<(PathBuf, GuardedStore)>> {
    match choice {
        JournalChoice::AsBefore | JournalChoice::None => Ok(None),
        JournalChoice::At(_) => bail!(
            "a rollback journal is for a database in the data directory: leave --rollback-journal out; after a PostgreSQL database was put back from an old copy, regenerate its tokens; nothing was changed"
        ),
    }
}

/// Opens the journal that vouches for the tokens of a backup; `None` if there is none to ask.
///
/// `current` is the database that the backup takes the place of. A journal that the backup alone knows of may be
/// out of reach, as on another machine.
pub(crate) fn open_for_restore(
    current: Option<&Connection>,
    backup: &Connection,
    choice: &JournalChoice,
) -> anyhow::Result<Option<(PathBuf, RollbackJournal)>> {
    let of_connection = |connection| known(&Transaction::of(connection));
    let of_current = current.map(of_connection).transpose()?.flatten();
    let of_backup = of_connection(backup)?;
    let is_of_current = of_current.is_some();
    let known = of_current.or(of_backup);
    let path = match (choice, &known) {
        (JournalChoice::At(path), _) => path::absolute(path)?,
        (JournalChoice::AsBefore, Some(known)) => known.path.clone(),
        (JournalChoice::None, _) | (JournalChoice::AsBefore, None) => return Ok(None),
    };
    let journal = match RollbackJournal::open(&path) {
        Err(error)
            if error.kind() == JournalErrorKind::Missing
                && *choice == JournalChoice::AsBefore
                && !is_of_current =>
        {
            return Ok(None);
        }
        opened => opened.map_err(|error| explain(error, &path))?,
    };
    check_id(&journal, &path, known.as_ref())?;
    check_slots(&journal, &path, backup)?;
    warn_of_cut(&journal, &path);
    Ok(Some((path, journal)))
}

/// Refuses a journal that knows none of a backup's tokens: it belongs to another database, and would not know
/// them afterwards either.
fn check_slots(journal: &RollbackJournal, path: &Path, backup: &Connection) -> anyhow::Result<()> {
    let (mut slots, mut known) = (0, 0);
    for_each_slot(backup, |row| {
        slots += 1;
        known += usize::from(journal.floor(&row.key).is_some());
        Ok::<_, anyhow::Error>(())
    })?;
    if slots > 0 && known == 0 {
        bail!(
            "the rollback journal {} knows none of the tokens of this backup: it belongs to another database; nothing was changed",
            path.display()
        );
    }
    Ok(())
}

/// Returns where the journal was that a database was last used with.
pub(crate) fn known_path(connection: &Transaction<'_>) -> Result<Option<PathBuf>, DatabaseError> {
    Ok(known(connection)?.map(|known| known.path))
}

/// An end that is missing is what a crash leaves; told all the same, since somebody may have cut it.
fn warn_of_cut(journal: &RollbackJournal, path: &Path) {
    if journal.cut_off() > 0 {
        tracing::warn!(
            path = %path.display(),
            bytes = journal.cut_off(),
            "the end of the rollback journal was broken, and was cut off: as after a crash in the midst of a change"
        );
    }
}

/// Shows the journal every row, and puts the store under its watch.
pub(crate) fn compare(
    store: &SqliteStore,
    mut journal: RollbackJournal,
) -> anyhow::Result<GuardedStore> {
    let connection = store.connection()?;
    for_each_slot(&connection, |row| {
        Ok::<_, anyhow::Error>(journal.compare(row)?)
    })?;
    Ok(JournaledStore::new(store.clone(), journal)?)
}

/// The journal that a database was last used with.
#[derive(Clone, Debug)]
struct Known {
    path: PathBuf,
    id: String,
}

fn known(connection: &Transaction<'_>) -> Result<Option<Known>, DatabaseError> {
    let path = meta::get(connection, meta::ROLLBACK_JOURNAL)?;
    let id = meta::get(connection, meta::ROLLBACK_JOURNAL_ID)?;
    Ok(path.zip(id).map(|(path, id)| Known {
        path: path.into(),
        id,
    }))
}

/// Keeps which journal the database is used with.
pub(crate) fn remember(
    connection: &Transaction<'_>,
    path: &Path,
    id: &str,
) -> Result<(), DatabaseError> {
    meta::set(connection, meta::ROLLBACK_JOURNAL, &path.to_string_lossy())?;
    meta::set(connection, meta::ROLLBACK_JOURNAL_ID, id)
}

/// Forgets which journal the database was last used with.
pub(crate) fn forget(connection: &Transaction<'_>) -> Result<(), DatabaseError> {
    meta::remove(connection, meta::ROLLBACK_JOURNAL)?;
    meta::remove(connection, meta::ROLLBACK_JOURNAL_ID)
}

fn open_or_create(path: &Path, known: Option<&Known>) -> anyhow::Result<RollbackJournal> {
    let journal = match RollbackJournal::open(path) {
        Err(error) if error.kind() == JournalErrorKind::Missing && known.is_none() => {
            tracing::info!(path = %path.display(), "rollback journal begun");
            RollbackJournal::create(path)
        }
        opened => opened,
    };
    let journal = journal.map_err(|error| explain(error, path))?;
    check_id(&journal, path, known)?;
    warn_of_cut(&journal, path);
    Ok(journal)
}

fn check_id(journal: &RollbackJournal, path: &Path, known: Option<&Known>) -> anyhow::Result<()> {
    if known.is_some_and(|known| known.id != journal.id()) {
        bail!(
            "the rollback journal {} is not the one that this database was last used with: say with --rollback-journal where that is, or put the database back that goes with this one; nothing was changed",
            path.display()
        );
    }
    Ok(())
}

fn explain(error: JournalError, path: &Path) -> anyhow::Error {
    let shown = path.display();
    let sentence = match error.kind() {
        JournalErrorKind::Damaged => format!(
            "the rollback journal {shown} is damaged: put a copy of it back; if there is none, start once with `--rollback-journal none` and then with another path, which begins a new one"
        ),
        JournalErrorKind::InUse => format!(
            "the rollback journal {shown} is in use by another server: each database needs its own"
        ),
        JournalErrorKind::Missing => format!(
            "the rollback journal {shown} is missing, and this database was last used with one: mount its volume, or say with --rollback-journal where it is; if it is lost for good, start once with `--rollback-journal none` and then with the path again, which begins a new one"
        ),
        JournalErrorKind::NotAJournal => {
            format!("the file {shown} is no rollback journal: give another path")
        }
        _ => format!("cannot use the rollback journal {shown}"),
    };
    anyhow::Error::from(error).context(format!("{sentence}; nothing was changed"))
}

/// A snapshot of a volume takes back what is on it, the journal included.
fn warn_of_same_volume(journal: &Path, database: &Path) {
    let device = |path: &Path| rustix::fs::stat(path).ok().map(|stat| stat.st_dev);
    if device(journal) == device(database) {
        tracing::warn!(
            "the rollback journal is on the volume of the database: a snapshot of the volume that is put back takes both back, unnoticed"
        );
    }
}

impl FromStr for JournalChoice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "none" => Self::None,
            path => Self::At(path.into()),
        })
    }
}

impl fmt::Display for JournalChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsBefore => f.write_str("as before"),
            Self::At(path) => path.display().fmt(f),
            Self::None => f.write_str("none"),
        }
    }
}
