//! The database file as the file system sees it: made private, and still the one that was opened.
//!
//! Nothing here may open a file that exists: on POSIX, closing any descriptor of a file drops all
//! locks that the process holds on it, SQLite's among them
//! ([How To Corrupt](https://www.sqlite.org/howtocorrupt.html), 2.2).

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// A database file and what tells it from another one at the same path.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    identity: Identity,
    gone: AtomicBool,
}

#[cfg(unix)]
type Identity = (u64, u64);
#[cfg(not(unix))]
type Identity = ();

impl DatabaseFile {
    /// Finds the file at `path`, or makes an empty one that its owner alone can read and write.
    ///
    /// # Errors
    /// The file is not there and can't be made.
    pub(crate) fn find_or_create(path: &Path) -> io::Result<Self> {
        // Absolute, so that neither `chdir` nor SQLite's names without a file, `:memory:`, mean anything.
        let path = std::path::absolute(path)?;
        create_private(&path)?;
        let identity = identity(&path)?;
        Ok(Self {
            path,
            identity,
            gone: AtomicBool::new(false),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks whether the file is still at its path; once it was not, it never is again.
    pub(crate) fn is_in_place(&self) -> bool {
        if !self.is_gone() && identity(&self.path).ok() != Some(self.identity) {
            self.gone.store(true, Ordering::Release);
        }
        !self.is_gone()
    }

    /// Returns whether anybody has found the file to be gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

/// Makes the file if it is not there.
fn create_private(path: &Path) -> io::Result<()> {
    // One at a time: the second of two would otherwise hold SQLite's locks while the first one closes.
    static CREATING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = CREATING.lock().unwrap_or_else(PoisonError::into_inner);

    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, OWNER_ONLY);
    match options.open(path) {
        Ok(file) => make_private(&file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sets the exact mode, of which the umask may have left less; SQLite gives it to the files beside it.
#[cfg(unix)]
fn make_private(file: &fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(OWNER_ONLY))
}

#[cfg(not(unix))]
fn make_private(_file: &fs::File) -> io::Result<()> {
    Ok(())
}

/// Returns the device and inode of what is at `path`.
#[cfg(unix)]
fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Elsewhere an open file can't be replaced, so that there is only one to know.
#[cfg(not(unix))]
fn identity(_path: &Path) -> io::Result<Identity> {
    Ok(())
}

#[cfg(unix)]
const OWNER_ONLY: u32 = 0o600;
