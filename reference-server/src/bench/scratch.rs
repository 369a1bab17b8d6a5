//! The folder of the database that is measured: on the user's disk, and gone afterwards.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    data_dir::{BENCH, create_private},
    db::ids::random_id,
    error::AppError,
};

/// Where the folder is to be.
#[derive(Debug)]
pub(crate) enum Place {
    /// In the data directory, so that the database is on the disk that the server's is on.
    DataDir(PathBuf),
    /// Among the temporary files of the machine.
    Temporary,
}

/// A folder of our own, which is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    is_in_data_dir: bool,
    /// Kept locked, so that the folder is not taken for one that a kill left behind.
    _lock: File,
}

impl Place {
    /// Returns the directory that the folder is made in.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::DataDir(path) => path.clone(),
            Self::Temporary => std::env::temp_dir(),
        }
    }
}

impl Scratch {
    pub(super) fn create(place: &Place) -> Result<Self, AppError> {
        let parent = place.path();
        let is_in_data_dir = matches!(place, Place::DataDir(_));
        // What lies among everybody's temporary files is the system's to tidy up.
        if is_in_data_dir {
            clear_left_behind(&parent);
        }
        let path = parent.join(format!("{BENCH}{}", random_id()?));
        let make = || {
            DirBuilder::new().mode(OWNER_ONLY).create(&path)?;
            let lock = create_private(&path.join(LOCK))?;
            lock.lock()?;
            Ok::<_, io::Error>(lock)
        };
        let lock = make().inspect_err(|_| drop(fs::remove_dir_all(&path)));
        let lock = lock.with_context(|| {
            format!(
                "cannot write to {}: run this as the user who owns it",
                parent.display()
            )
        })?;
        Ok(Self {
            path,
            is_in_data_dir,
            _lock: lock,
        })
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join("bench.db")
    }

    /// Returns the directory that the folder is in.
    pub(super) fn parent(&self) -> &Path {
        // It was joined from one.
        self.path.parent().unwrap_or(&self.path)
    }

    pub(super) fn is_in_data_dir(&self) -> bool {
        self.is_in_data_dir
    }

    /// Takes the folder away, and says if that fails.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.path)
            .with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Takes away what a kill or a power failure left behind: folders that nobody holds.
fn clear_left_behind(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries {
        if !entry.file_name().to_string_lossy().starts_with(BENCH) {
            continue;
        }
        // Without its lock a folder may be one that is just being made.
        let lock = File::open(entry.path().join(LOCK));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

const LOCK: &str = "lock";
const OWNER_ONLY: u32 = 0o700;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(parent: &Path) -> Vec<String> {
        let entries = fs::read_dir(parent).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn what_a_kill_left_behind_is_taken_away_and_what_is_held_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let left_behind = parent.path().join("wst-bench-aaaaaaaaaaa");
        fs::create_dir(&left_behind).unwrap();
        fs::write(left_behind.join(LOCK), "").unwrap();
        fs::write(left_behind.join("bench.db"), "rows").unwrap();
        let place = Place::DataDir(parent.path().to_owned());
        let held = Scratch::create(&place).unwrap();
        assert!(!left_behind.exists());
        let other = Scratch::create(&place).unwrap();
        assert_eq!(names(parent.path()).len(), 2);
        other.remove().unwrap();
        drop(held);
        assert_eq!(names(parent.path()), Vec::<String>::new());
    }
}
