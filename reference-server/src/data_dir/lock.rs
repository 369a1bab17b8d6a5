//! The lock that keeps two processes from using one data directory.

use std::{
    fs::{File, TryLockError},
    os::unix::fs::OpenOptionsExt as _,
};

use anyhow::Context as _;

use super::{DataDir, OWNER_ONLY_FILE};

/// Holds a data directory until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DataDirLock {
    _file: File,
}

impl DataDir {
    /// Takes the directory, or returns `None` if another process holds it.
    pub(crate) fn try_lock(&self) -> anyhow::Result<Option<DataDirLock>> {
        let path = self.lock_file();
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(OWNER_ONLY_FILE)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DataDirLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }
}
