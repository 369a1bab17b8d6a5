//! The data directory and its files: whose they are, who else may read them, and what they lie on.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::{
    fs::{statfs, statvfs},
    process::geteuid,
};
use workspace_token_key_memory::hold;

use super::Check;
use crate::data_dir::{DataDir, keys::KeySource};

/// Looks at all of it.
pub(crate) fn check(data_dir: &DataDir, keys: &KeySource) -> Vec<Check> {
    vec![
        permissions(data_dir),
        key_file(data_dir, keys),
        file_system(data_dir.path()),
        disk_space(data_dir),
    ]
}

fn permissions(data_dir: &DataDir) -> Check {
    const NAME: &str = "permissions";
    let path = data_dir.path();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            let found = format!("cannot look at {}: {}", path.display(), error.kind());
            return Check::fail(NAME, found, "run this as the user of the server");
        }
    };
    let mut wrong = Vec::new();
    let mut mend = Vec::new();
    let mut look = |path: &Path, metadata: &Metadata, mode: u32| {
        let shown = path.display();
        if metadata.mode() & 0o777 & !mode != 0 {
            wrong.push(format!("{shown} is {:04o}", metadata.mode() & 0o7777));
            mend.push(format!("chmod {mode:o} '{shown}'"));
        }
    };
    look(path, &metadata, 0o700);
    let mut others = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let Ok(inner) = entry.metadata() else {
            continue;
        };
        // A file system keeps the one, and what a link leads to is not in here.
        if entry.file_name() == "lost+found" || inner.is_symlink() {
            continue;
        }
        let mode = if inner.is_dir() { 0o700 } else { 0o600 };
        look(&entry.path(), &inner, mode);
        if inner.uid() != metadata.uid() {
            others.push(entry.path().display().to_string());
        }
    }
    if !wrong.is_empty() {
        return Check::fail(
            NAME,
            format!(
                "others than its owner can use what is in the data directory: {}",
                wrong.join(", ")
            ),
            format!("`{}`", mend.join(" && ")),
        );
    }
    if !others.is_empty() {
        return Check::fail(
            NAME,
            format!(
                "not all files are of the owner of {}: {}",
                path.display(),
                others.join(", ")
            ),
            "`chown` them to the user of the server",
        );
    }
    let (me, owner) = (geteuid().as_raw(), metadata.uid());
    if me != 0 && me != owner {
        return Check::fail(
            NAME,
            format!(
                "{} belongs to the user {owner}, and this runs as {me}",
                path.display()
            ),
            "run this as the user of the server",
        );
    }
    Check::ok(
        NAME,
        format!("{} is of the user {owner} alone", path.display()),
    )
}

fn key_file(data_dir: &DataDir, keys: &KeySource) -> Check {
    const NAME: &str = "key file";
    let file = keys.file(data_dir);
    match hold(|| file.read()) {
        Ok(_) => Check::ok(
            NAME,
            format!(
                "{} can be read, and by its owner alone",
                file.path().display()
            ),
        ),
        Err(error) => Check::fail(
            NAME,
            format!("{error:#}"),
            "put the file back from where a copy is kept, readable by its owner alone (`chmod 600`)",
        ),
    }
}

fn file_system(path: &Path) -> Check {
    const NAME: &str = "file system";
    match statfs(path) {
        Err(error) => Check::warn(
            NAME,
            format!("cannot be told: {error}"),
            "see that it is a disk of this machine",
        ),
        Ok(found) => match network_name(found.f_type as u64 & 0xffff_ffff) {
            Some(name) => Check::warn(
                NAME,
                format!("the data directory lies on {name}, whose locks SQLite cannot rely on"),
                "move the data directory to a disk of this machine",
            ),
            None => Check::ok(NAME, "a disk of this machine"),
        },
    }
}

/// Names file systems on which a file may be open on two machines (`linux/magic.h`).
fn network_name(kind: u64) -> Option<&'static str> {
    Some(match kind {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x0102_1997 => "9P",
        0x00c3_6400 => "Ceph",
        0x5346_414f => "AFS",
        0x7375_7245 => "Coda",
        0x6573_5546 => "FUSE",
        _ => return None,
    })
}

fn disk_space(data_dir: &DataDir) -> Check {
    let path = data_dir.path();
    let database = fs::metadata(data_dir.database()).map_or(0, |metadata| metadata.len());
    match statvfs(path) {
        Ok(found) => judge_space(found.f_bavail.saturating_mul(found.f_frsize), database),
        Err(error) => Check::warn(
            "disk space",
            format!("cannot be told: {error}"),
            "look with `df`",
        ),
    }
}

fn judge_space(free: u64, database: u64) -> Check {
    const NAME: &str = "disk space";
    let found = format!(
        "{} MiB are free, and the database has {}",
        free / MIB,
        database / MIB
    );
    if free < LEAST {
        return Check::fail(
            NAME,
            found,
            "make room: without it nothing can be written, and a rotation is a write",
        );
    }
    if free < AMPLE.max(database.saturating_mul(2)) {
        return Check::warn(
            NAME,
            found,
            "make room: a backup beside the database takes as much again",
        );
    }
    Check::ok(NAME, found)
}

const MIB: u64 = 1024 * 1024;
/// SQLite's log grows to some megabytes before it is folded in.
const LEAST: u64 = 64 * MIB;
const AMPLE: u64 = 512 * MIB;

#[cfg(test)]
mod tests {
    use super::{super::CheckState, *};

    #[test]
    fn space_is_judged_by_what_the_database_takes() {
        for (free, database, expected) in [
            (0, 0, CheckState::Fail),
            (LEAST - 1, 0, CheckState::Fail),
            (LEAST, 0, CheckState::Warn),
            (AMPLE, 0, CheckState::Ok),
            (AMPLE, AMPLE, CheckState::Warn),
            (AMPLE * 2, AMPLE, CheckState::Ok),
            (u64::MAX, u64::MAX, CheckState::Ok),
        ] {
            assert_eq!(
                judge_space(free, database).state,
                expected,
                "{free} {database}"
            );
        }
    }

    #[test]
    fn file_systems_of_networks_are_known() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        // ext4, xfs, btrfs, tmpfs, overlayfs
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert_eq!(network_name(local), None);
        }
    }
}
