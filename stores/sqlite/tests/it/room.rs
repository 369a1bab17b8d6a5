//! A disk without room.

use std::{
    fs,
    path::Path,
    process::{Command, ExitStatus},
};

use tower_workspace_token::store::StoreErrorKind;
use tower_workspace_token_sqlite::SqliteStore;

use crate::support::{Directory, generation, rotate_to, slot};

#[tokio::test]
async fn a_full_disk_refuses_writes_and_loses_none() {
    let directory = Directory::new();
    let Some(_disk) = SmallDisk::mount(directory.path()) else {
        eprintln!("skipped: only root can mount a small disk");
        return;
    };
    let store = SqliteStore::open(directory.database()).unwrap();
    let ballast = directory.path().join("ballast");
    let mut acknowledged = 0;
    for _ in 0..3 {
        fill(&ballast);
        let error = loop {
            match rotate_to(&store, slot("primary"), acknowledged + 1).await {
                Ok(()) => acknowledged += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), StoreErrorKind::Full, "{error:?}");
        assert_eq!(generation(&store, slot("primary")).await, acknowledged);

        fs::remove_file(&ballast).unwrap();
        acknowledged += 1;
        rotate_to(&store, slot("primary"), acknowledged)
            .await
            .unwrap();
    }
    drop(store);
    let store = SqliteStore::open(directory.database()).unwrap();
    assert_eq!(generation(&store, slot("primary")).await, acknowledged);
}

/// Writes zeros until there is no room for another block.
fn fill(path: &Path) {
    let full = fs::write(path, vec![0; 64 << 20]);
    assert!(full.is_err(), "the disk is small");
}

/// A file system in memory, over a directory, that goes with the value.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path) -> Option<Self> {
        let options = ["-t", "tmpfs", "-o", "size=8m", "tmpfs"];
        let mounted = run(Command::new("mount").args(options).arg(path))?;
        mounted.success().then_some(Self(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily, since the store is open if an assertion failed.
        run(Command::new("umount").arg("-l").arg(self.0));
    }
}

fn run(command: &mut Command) -> Option<ExitStatus> {
    Some(command.output().ok()?.status)
}
