//! The data directory: who may make it, who holds it, and what lies in it.
//!
//! | file | what | mode |
//! |---|---|---|
//! | `workspaces.db` (`-wal`, `-shm`) | workspaces, sealed tokens, tasks | 0600 |
//! | `workspaces.db.before-restore-DATE` | the database that a restore has replaced | 0600 |
//! | `workspaces.db.download` | a backup that somebody downloads, while it is written | 0600 |
//! | `workspaces.keys` | the keys, unless they are given elsewhere | 0600 |
//! | `database` | which PostgreSQL database the directory goes with, without a password | 0600 |
//! | `setup-link` | the secret of the setup link, until the first account was made | 0600 |
//! | `control.sock` | where commands reach the server that holds the directory | 0600 |
//! | `wst-bench-…/` | the database of a `wst bench` that runs, a folder | 0700 |
//! | `lock` | held by the server, or by a command that works without one | 0600 |
//! | `.gitignore` | `*` | 0600 |

pub(crate) mod keys;
mod lock;
mod probe;

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{
            DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
        },
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::{
    db::DatabasePlace,
    error::{AppError, ErrorCode},
};

pub(crate) use lock::DataDirLock;
pub(crate) use probe::probe_writes;

/// An open data directory.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    handle: File,
}

impl DataDir {
    /// Opens the directory, and makes it where there is none: for `serve` alone.
    pub(crate) fn open_or_create(path: &Path) -> anyhow::Result<Self> {
        make(path).with_context(|| format!("cannot make the data directory {}", path.display()))?;
        let data_dir = Self::open_existing(path)?;
        data_dir.claim()?;
        data_dir.write_gitignore()?;
        Ok(data_dir)
    }

    /// Opens a directory that a server has made.
    pub(crate) fn open(path: &Path) -> Result<Self, AppError> {
        if !is_there(path, LOCK)? && !is_there(path, DATABASE)? {
            return Err(AppError::new(
                ErrorCode::NoDataDir,
                format!(
                    "no data directory at {}: start `wst serve` or give --data-dir",
                    path.display()
                ),
            ));
        }
        Ok(Self::open_existing(path)?)
    }

    fn open_existing(path: &Path) -> anyhow::Result<Self> {
        let open = || -> std::io::Result<Self> {
            Ok(Self {
                path: std::path::absolute(path)?,
                handle: File::options()
                    .read(true)
                    .custom_flags(rustix::fs::OFlags::DIRECTORY.bits() as i32)
                    .open(path)?,
            })
        };
        open().with_context(|| format!("cannot open the data directory {}", path.display()))
    }

    /// Opens the same directory again.
    pub(crate) fn reopen(&self) -> anyhow::Result<Self> {
        Self::open_existing(&self.path)
    }

    /// Makes the directory private, and refuses one that holds somebody else's files.
    fn claim(&self) -> anyhow::Result<()> {
        let metadata = self.handle.metadata()?;
        if metadata.mode() & 0o7777 == OWNER_ONLY {
            return Ok(());
        }
        let path = self.path.display();
        if !self.holds_only_ours()? {
            bail!(
                "{path} is open to other users and holds other files: give --data-dir a directory of its own"
            );
        }
        self.handle
            .set_permissions(fs::Permissions::from_mode(OWNER_ONLY))
            .with_context(|| format!("cannot make {path} private: run `chmod 700` on it"))
    }

    fn holds_only_ours(&self) -> anyhow::Result<bool> {
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            let is_ours = [
                LOCK,
                KEY_FILE,
                CONTROL,
                ELSEWHERE,
                GITIGNORE,
                SETUP_LINK,
                "lost+found",
            ]
            .contains(&name.as_ref())
                || [BENCH, DATABASE]
                    .iter()
                    .any(|begin| name.starts_with(begin));
            if !is_ours {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn write_gitignore(&self) -> anyhow::Result<()> {
        let path = self.path.join(GITIGNORE);
        match create_private(&path) {
            Ok(mut file) => file.write_all(b"*\n").context("cannot write .gitignore"),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
        }
    }

    /// Returns the path of the directory, as an absolute one.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Returns whether there is a database with anything in it.
    pub(crate) fn has_database(&self) -> bool {
        fs::metadata(self.database()).is_ok_and(|metadata| metadata.len() > 0)
    }

    /// Stops whoever would use a file where a PostgreSQL database was used, only because nobody said so: it would
    /// be empty, and look as if everything were lost.
    pub(crate) fn check_kind(&self, place: &DatabasePlace, is_named: bool) -> Result<(), AppError> {
        let Some(name) = self.noted_database()? else {
            return Ok(());
        };
        match (place, is_named) {
            (DatabasePlace::Sqlite, false) => Err(AppError::new(
                ErrorCode::NoDataDir,
                format!(
                    "the data directory {} goes with {}: say so with WST_DATABASE, or WST_DATABASE_FILE, or start the server, which knows",
                    self.path.display(),
                    name
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Returns the PostgreSQL database that the directory goes with, if one was noted.
    pub(crate) fn noted_database(&self) -> anyhow::Result<Option<String>> {
        let path = self.path.join(ELSEWHERE);
        match fs::read_to_string(&path) {
            Ok(name) => Ok(Some(name.trim().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            // A note that cannot be read is no leave to open a file in the place of what it says.
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Notes which PostgreSQL database the directory goes with, once that is in use.
    ///
    /// Whole or not at all, and so that it outlives a power failure: without it, the file that was moved away from
    /// would be served again, and with it every token of then.
    pub(crate) fn note_kind(&self, place: &DatabasePlace) -> anyhow::Result<()> {
        let name = place.name();
        if self.noted_database()? == name {
            return Ok(());
        }
        let path = self.path.join(ELSEWHERE);
        let write = || -> std::io::Result<()> {
            match name {
                None => fs::remove_file(&path)?,
                Some(name) => replace_file(&path, format!("{name}\n").as_bytes())?,
            }
            self.sync()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.path.join(KEY_FILE)
    }

    pub(crate) fn setup_link(&self) -> PathBuf {
        self.path.join(SETUP_LINK)
    }

    /// Returns where a backup is written that somebody downloads.
    pub(crate) fn download(&self) -> PathBuf {
        self.path.join(DOWNLOAD)
    }

    fn lock_file(&self) -> PathBuf {
        self.path.join(LOCK)
    }

    /// Returns a path of the control socket that is short enough for a socket address, whatever the
    /// directory's own path is; it holds as long as this does.
    pub(crate) fn control_socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.handle.as_raw_fd())).join(CONTROL)
    }

    /// Returns the user who owns the directory.
    pub(crate) fn owner(&self) -> anyhow::Result<u32> {
        Ok(self.handle.metadata()?.uid())
    }

    /// Takes away what an earlier restore left behind; returns where the next one works.
    pub(crate) fn clear_staging(&self) -> anyhow::Result<PathBuf> {
        let staging = self.path.join(STAGING);
        for suffix in ["", "-journal", "-shm", "-wal"] {
            remove_if_there(&with_suffix(&staging, suffix))?;
        }
        Ok(staging)
    }

    pub(crate) fn create_staging(&self) -> anyhow::Result<File> {
        create_private(&self.path.join(STAGING)).context("cannot write to the data directory")
    }

    /// Makes the restored copy the database, at one stroke.
    pub(crate) fn adopt_staging(&self) -> anyhow::Result<()> {
        fs::rename(self.path.join(STAGING), self.database())?;
        Ok(self.sync()?)
    }

    /// Gives the database a second name, under which it stays when another takes its place, and puts what
    /// is in its log beside that.
    pub(crate) fn keep_database(&self, stamp: &str) -> anyhow::Result<PathBuf> {
        let database = self.database();
        let kept = (1..)
            .map(|number| match number {
                1 => format!(".before-restore-{stamp}"),
                number => format!(".before-restore-{stamp}-{number}"),
            })
            .map(|suffix| with_suffix(&database, &suffix))
            .find(|path| !path.exists())
            .context("there are too many of them")?;
        fs::hard_link(&database, &kept)
            // Not every file system has links.
            .or_else(|_| fs::copy(&database, &kept).map(|_| ()))?;
        // There is a log only if the database was no good, or nobody closed it.
        let log = with_suffix(&database, "-wal");
        if log.exists() {
            fs::rename(&log, with_suffix(&kept, "-wal"))?;
        }
        File::open(&kept)?.sync_all()?;
        self.clear_logs()?;
        Ok(kept)
    }

    /// Takes away the files that SQLite keeps beside the database.
    pub(crate) fn clear_logs(&self) -> anyhow::Result<()> {
        for suffix in ["-journal", "-shm", "-wal"] {
            remove_if_there(&with_suffix(&self.database(), suffix))?;
        }
        Ok(self.sync()?)
    }

    /// Takes a directory away that was made in vain, if nothing else is in it.
    pub(crate) fn unmake(&self) {
        for name in [GITIGNORE, LOCK] {
            let _ = fs::remove_file(self.path.join(name));
        }
        let _ = fs::remove_dir(&self.path);
    }

    /// Makes sure that new names in the directory outlive a power failure.
    fn sync(&self) -> std::io::Result<()> {
        self.handle.sync_all()
    }
}

/// Makes the directory, and those above it that are missing, where there is none, and makes sure that its name
/// outlives a power failure: what is in a directory without a name is lost with it.
fn make(path: &Path) -> std::io::Result<()> {
    let path = std::path::absolute(path)?;
    let is_missing = |ancestor: &&Path| !ancestor.exists();
    let missing: Vec<_> = path.ancestors().take_while(is_missing).collect();
    if !missing.is_empty() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(OWNER_ONLY)
            .create(&path)?;
    }
    // Its own name each time: whoever made it may have been killed before it was kept.
    let above = missing.iter().skip(1).copied();
    for directory in std::iter::once(path.as_path()).chain(above) {
        sync_name(directory)?;
    }
    Ok(())
}

fn sync_name(path: &Path) -> std::io::Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    match File::open(parent) {
        Ok(parent) => parent.sync_all(),
        // Somebody else has made the directory for us, in a place that is not ours to look into.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns whether the directory at `path` holds a file called `name`; fails if nobody lets us know.
fn is_there(path: &Path, name: &str) -> Result<bool, AppError> {
    match fs::metadata(path.join(name)) {
        Ok(_) => Ok(true),
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            Ok(false)
        }
        Err(error) => Err(AppError::new(
            ErrorCode::Failed,
            format!("cannot look into {}: {}", path.display(), error.kind()),
        )),
    }
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts a private file in the place of one that may be there, whole or not at all. That its name outlives a power
/// failure is the caller's to see to.
fn replace_file(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let unfinished = with_suffix(path, ".new");
    let _ = fs::remove_file(&unfinished);
    let write = || -> std::io::Result<()> {
        let mut file = create_private(&unfinished)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&unfinished);
    })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Makes a file that its owner alone can use; fails if there is one.
pub(crate) fn create_private(path: &Path) -> std::io::Result<File> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(OWNER_ONLY_FILE)
        .open(path)
}

const OWNER_ONLY: u32 = 0o700;
const OWNER_ONLY_FILE: u32 = 0o600;

/// How the name of a folder begins that `wst bench` measures in.
pub(crate) const BENCH: &str = "wst-bench-";
const CONTROL: &str = "control.sock";
const ELSEWHERE: &str = "database";
const DATABASE: &str = "workspaces.db";
const DOWNLOAD: &str = "workspaces.db.download";
const GITIGNORE: &str = ".gitignore";
/// What the key file is called, here and as a credential.
pub(crate) const KEY_FILE: &str = "workspaces.keys";
const LOCK: &str = "lock";
const SETUP_LINK: &str = "setup-link";
const STAGING: &str = "workspaces.db.restoring";
