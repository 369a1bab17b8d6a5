//! Writing a backup while others work.

use std::{io, path::Path};

use anyhow::{Context as _, anyhow, bail};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{Target, empty, file::Part};
use crate::{
    db::{DatabaseError, Transaction, meta},
    error::AppError,
    key_check::{self, KeyName},
    progress::Job,
    time,
};

/// What was written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) made_at: i64,
    pub(crate) schema_version: String,
    /// Ring and id of each key that it needs.
    pub(crate) keys: Vec<(String, String)>,
}

/// Copies the database of `source`, as it is at one moment, to `target`.
///
/// It is to need the keys `needed` and no others, which may hold them still but opens nothing of it with them.
/// Blocks for as long as it takes. Whatever fails, nothing is left behind.
pub(crate) fn write(
    source: &Connection,
    target: &Target,
    needed: &[KeyName],
    job: &Job,
) -> Result<Written, AppError> {
    // Until the part is gone, or has its place.
    let _at_work = job.at_work()?;
    let mut part = target.begin()?;
    let written = fill(&mut part, source, needed, job);
    let written = written.map_err(|error| match job.check_stop() {
        Err(stopping) => stopping,
        Ok(()) => explain(error, target),
    })?;
    target.publish(part)?;
    Ok(written)
}

/// Copies the database of `source`, as it is at one moment, into an empty file.
pub(super) fn fill(
    part: &mut Part,
    source: &Connection,
    needed: &[KeyName],
    job: &Job,
) -> anyhow::Result<Written> {
    let mut fill = || {
        let size = size(source)?;
        job.begin(size * 2);
        job.watch(Some(part.path()));
        job.may_interrupt(source)?;
        source.execute("VACUUM INTO ?1", [text(part.path())?])?;
        let mut written = finish_copy(part.path(), needed, job)?;
        job.watch(None);
        job.add(size);
        written.bytes = part.seal(|bytes| {
            job.add(bytes);
            job.check_stop().map_err(io::Error::other)
        })?;
        Ok(written)
    };
    let outcome = fill();
    job.watch(None);
    outcome
}

/// Returns how long the database is.
pub(super) fn size(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let size = number("PRAGMA page_count")?.saturating_mul(number("PRAGMA page_size")?);
    Ok(u64::try_from(size).unwrap_or(0))
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("the path of the backup is no text")
}

/// Takes out of the copy what opens anything, marks it as a backup, and checks it.
fn finish_copy(path: &Path, needed: &[KeyName], job: &Job) -> anyhow::Result<Written> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(path, flags)?;
    job.may_interrupt(&copy)?;
    // No file beside it; and nothing of a row that is deleted stays.
    copy.execute_batch(
        "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF",
    )?;
    let made_at = time::now();
    let transaction = copy.transaction()?;
    empty(&Transaction::of(&transaction))?;
    key_check::keep(&Transaction::of(&transaction), needed)?;
    meta::set(
        &Transaction::of(&transaction),
        meta::BACKUP_MADE_AT,
        &made_at.to_string(),
    )?;
    transaction.commit()?;
    check_integrity(&copy)?;
    let schema_version = meta::get(&Transaction::of(&copy), meta::SCHEMA_VERSION)?;
    let written = Written {
        bytes: 0,
        made_at,
        schema_version: schema_version.context("the copy has no version")?,
        keys: key_check::required(&Transaction::of(&copy))?,
    };
    copy.close().map_err(|(_, error)| error)?;
    Ok(written)
}

/// Fails if any page, row or index is not as it has to be.
pub(super) fn check_integrity(connection: &Connection) -> anyhow::Result<()> {
    let finding: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if finding != "ok" {
        bail!("the database is damaged ({finding})");
    }
    Ok(())
}

fn explain(error: anyhow::Error, target: &Target) -> AppError {
    let directory = target.directory().display();
    let explained = if is_full(&error) {
        anyhow!(
            "there is no room for the backup in {directory}: make room there or name another place; nothing was left behind"
        )
    } else {
        error.context(format!(
            "the backup could not be written to {directory}; nothing was left behind"
        ))
    };
    explained.into()
}

pub(super) fn is_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let by_sqlite = cause
            .downcast_ref::<rusqlite::Error>()
            .and_then(rusqlite::Error::sqlite_error_code);
        let by_system = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        by_sqlite == Some(ErrorCode::DiskFull)
            || matches!(
                by_system,
                Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            )
    })
}

impl Written {
    /// Notes in the database itself that there is a backup.
    pub(crate) fn note(
        &self,
        connection: &Transaction<'_>,
        file: &str,
    ) -> Result<(), DatabaseError> {
        meta::set(connection, meta::LAST_BACKUP_AT, &self.made_at.to_string())?;
        meta::set(connection, meta::LAST_BACKUP_FILE, file)
    }
}
