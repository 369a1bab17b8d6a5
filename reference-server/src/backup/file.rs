//! The file of a backup: where it may be, how it comes to be there whole or not at all, and its tail.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read, Seek as _, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use sha2::{Digest as _, Sha256};

use crate::{
    db::ids::random_id,
    error::{AppError, ErrorCode},
};

/// A place where a backup may be written.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    directory: PathBuf,
    name: OsString,
    may_replace: bool,
}

/// A file that is being written beside its place; gone when dropped, unless it was published.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    /// Kept locked, so that it is not taken for one that a crash left behind.
    file: File,
}

impl Target {
    /// Checks that a backup of what is in `data_dir` may be written to `path`.
    pub(crate) fn new(path: &Path, data_dir: &Path, may_replace: bool) -> Result<Self, AppError> {
        let shown = path.display();
        let (Some(parent), Some(name), true) =
            (path.parent(), path.file_name(), path.is_absolute())
        else {
            return Err(AppError::invalid(format!(
                "{shown} names no file: give the path of the backup"
            )));
        };
        let directory = fs::canonicalize(parent).map_err(|error| {
            AppError::invalid(format!(
                "the backup cannot be written to {}: {error}",
                parent.display()
            ))
        })?;
        let data_dir = fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        if directory.starts_with(&data_dir) {
            return Err(AppError::invalid(format!(
                "{shown} is in the data directory and would be lost with it: name a file elsewhere, on another disk at best"
            )));
        }
        match fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.is_file() => {
                return Err(AppError::invalid(format!(
                    "{shown} is there and no plain file: name another one"
                )));
            }
            Ok(_) if !may_replace => return Err(is_there(path)),
            _ => {}
        }
        Ok(Self {
            path: path.to_owned(),
            name: name.to_owned(),
            directory,
            may_replace,
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes an empty file beside the place, for the owner alone.
    pub(super) fn begin(&self) -> anyhow::Result<Part> {
        self.clear();
        let part = Part::create(self.directory.join(self.part_name(&random_id()?)))
            .with_context(|| format!("cannot write to {}", self.directory.display()))?;
        let _ = part.file.try_lock();
        Ok(part)
    }

    /// Puts the finished file into its place.
    pub(super) fn publish(&self, part: Part) -> Result<(), AppError> {
        let place = self.directory.join(&self.name);
        part.file.sync_all().map_err(anyhow::Error::from)?;
        let moved = if self.may_replace {
            fs::rename(&part.path, &place)
        } else {
            rename_to_nothing(&part.path, &place)
        };
        match moved {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(is_there(&self.path));
            }
            Err(error) => {
                return Err(anyhow::Error::from(error)
                    .context(format!("cannot write {}", self.path.display()))
                    .into());
            }
        }
        File::open(&self.directory)
            .and_then(|directory| directory.sync_all())
            .with_context(|| format!("cannot sync {}", self.directory.display()))?;
        Ok(())
    }

    fn part_name(&self, id: &str) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(format!(".{id}{PART}"));
        name
    }

    /// Takes away what a backup to this place left behind when it was killed.
    fn clear(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            if self.is_part(&entry.file_name())
                && let Ok(file) = File::open(entry.path())
                && file.try_lock().is_ok()
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn is_part(&self, name: &OsStr) -> bool {
        let (name, own) = (name.to_string_lossy(), self.name.to_string_lossy());
        let id = name
            .strip_prefix(&format!(".{own}."))
            .and_then(|rest| rest.strip_suffix(PART));
        id.is_some_and(crate::db::ids::is_id)
    }
}

impl Part {
    /// Makes an empty file, for the owner alone.
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self { path, file })
    }

    /// Takes the file's name away, and returns it at its beginning. It is gone when that is dropped, and
    /// when the process ends, however it does.
    pub(super) fn unname(self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        fs::remove_file(&self.path)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the tail; returns how long the file is.
    pub(super) fn seal(
        &mut self,
        mut progress: impl FnMut(u64) -> io::Result<()>,
    ) -> io::Result<u64> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut hash = Sha256::new();
        let length = read_all(&mut self.file, |bytes| {
            hash.update(bytes);
            progress(bytes.len() as u64)
        })?;
        hash.update(MAGIC);
        self.file.write_all(MAGIC)?;
        self.file.write_all(&hash.finalize())?;
        self.file.sync_all()?;
        Ok(length + TAIL)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Not there any longer once it was published.
        let _ = fs::remove_file(&self.path);
    }
}

/// A backup that has its tail, and of which nothing else is known yet.
#[derive(Debug)]
pub(super) struct BackupFile {
    file: File,
    length: u64,
}

impl BackupFile {
    /// Opens the file and looks at its tail.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let mut file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            bail!("{shown} is no file");
        }
        let mut magic = [0; MAGIC.len()];
        if metadata.len() > TAIL {
            file.seek(SeekFrom::End(-(TAIL as i64)))?;
            file.read_exact(&mut magic)?;
        }
        if magic != *MAGIC {
            bail!(
                "{shown} is no backup that `wst backup` has made, or a part of it is missing; nothing was changed"
            );
        }
        Ok(Self {
            file,
            length: metadata.len() - TAIL,
        })
    }

    /// Copies the database to `copy`; fails if a byte of the file is not as it was written.
    pub(super) fn extract(
        mut self,
        copy: &mut File,
        progress: &mut dyn FnMut(u64, u64),
    ) -> anyhow::Result<()> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut hash = Sha256::new();
        let mut done = 0;
        let length = read_all(&mut (&self.file).take(self.length), |bytes| {
            hash.update(bytes);
            done += bytes.len() as u64;
            progress(done, self.length);
            copy.write_all(bytes)
        })?;
        let mut tail = Vec::new();
        (&self.file).take(TAIL + 1).read_to_end(&mut tail)?;
        hash.update(MAGIC);
        let is_whole = length == self.length
            && tail.strip_prefix(MAGIC.as_slice()) == Some(hash.finalize().as_slice());
        if !is_whole {
            bail!("the backup is damaged: take another one; nothing was changed");
        }
        Ok(())
    }
}

fn read_all(
    source: &mut impl Read,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let mut buffer = vec![0; 256 * 1024];
    let mut length = 0;
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(read) => {
                take(&buffer[..read])?;
                length += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Renames, unless there is something.
fn rename_to_nothing(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        outcome => Ok(outcome?),
    }
}

fn is_there(path: &Path) -> AppError {
    AppError::new(
        ErrorCode::AlreadyExists,
        format!(
            "{} is there already: name another file, or give --force to replace it",
            path.display()
        ),
    )
}

const MAGIC: &[u8; 16] = b"wst backup v1\0\0\0";
const TAIL: u64 = 48;
const PART: &str = ".part";
