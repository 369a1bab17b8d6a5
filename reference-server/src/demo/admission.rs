//! Where a demo may run. Asked before anything is written.

use std::path::Path;

use anyhow::Context as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::{Connection, OpenFlags};

use super::mark::Mark;
use crate::{
    config::Settings,
    data_dir::DataDir,
    db::Transaction,
    error::{AppError, ErrorCode},
    listener::exposure,
    people::users,
    workspaces,
};

/// Checks that nobody but this machine reaches the demo: its agent does what anybody there asks.
pub(crate) fn check_listening(settings: &Settings) -> Result<(), AppError> {
    let listening = &settings.listening;
    let trouble = if !exposure::is_loopback(listening.address) {
        "listens on loopback alone: leave --listen out, or give it an address such as 127.0.0.1:8080"
    } else if listening.tls.is_some() {
        "speaks plain HTTP alone: leave out --tls-cert and --tls-key"
    } else if settings.public_url.is_some() {
        "is for this machine alone: leave out --public-url"
    } else if !listening.proxies.is_empty() {
        "is for this machine alone: leave out --trusted-proxy"
    } else {
        return Ok(());
    };
    Err(AppError::usage(format!("--demo {trouble}")))
}

/// Checks that the directory is new, or an earlier demo's.
///
/// The caller holds the directory. The database is read as it lies there, so that whoever is turned away
/// finds every byte as it was.
pub(crate) fn check_data_dir(data_dir: &DataDir) -> Result<(), AppError> {
    if !data_dir.has_database() {
        return Ok(());
    }
    let path = data_dir.database();
    let contents = look_into(&path)
        .with_context(|| format!("cannot look into the database {}", path.display()))?;
    match contents {
        Contents::Demo | Contents::Nothing => Ok(()),
        Contents::Work => Err(AppError::new(
            ErrorCode::AlreadyExists,
            format!(
                "{} holds workspaces or accounts that are no demo's, and a demo does not mix with them: give --demo a directory of its own with --data-dir, or leave --demo out; nothing was changed",
                data_dir.path().display()
            ),
        )),
    }
}

/// What a database holds.
enum Contents {
    Demo,
    Nothing,
    Work,
}

fn look_into(path: &Path) -> anyhow::Result<Contents> {
    let connection = open_untouched(path)?;
    if !has_table(&connection, "meta")? {
        return Ok(Contents::Nothing);
    }
    // What was only begun is no demo yet: whoever came after may have taken the directory for theirs.
    let begun = match Mark::read(&Transaction::of(&connection))? {
        Some(Mark::Filled(_)) => return Ok(Contents::Demo),
        Some(Mark::Begun(workspace)) => Some(workspace),
        None => None,
    };
    let is_used = workspaces::any_but(&Transaction::of(&connection), begun.as_ref())?
        || (has_table(&connection, "users")? && users::any(&Transaction::of(&connection))?);
    Ok(match is_used {
        true => Contents::Work,
        false => Contents::Nothing,
    })
}

fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.table_exists(None, name)
}

/// Opens the database so that no file beside it is made. One whose log was left behind has to be read
/// with it.
fn open_untouched(path: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    if Path::new(&log).exists() {
        return Ok(Connection::open_with_flags(path, flags)?);
    }
    let path = path.to_str().context("its path is no text")?;
    let uri = format!(
        "file:{}?immutable=1",
        utf8_percent_encode(path, &NOT_IN_A_PATH)
    );
    let flags = flags | OpenFlags::SQLITE_OPEN_URI;
    Ok(Connection::open_with_flags(uri, flags)?)
}

const NOT_IN_A_PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'/');
