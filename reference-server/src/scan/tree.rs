//! Goes through files and directories, whatever a `.gitignore` says: what is ignored there is where secrets lie.

use std::{
    fs::{self, File},
    io,
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{OFlags, statfs};

use super::{
    finder::Finder,
    inventory::{Inventory, Place, shown},
};

/// Reads the file, or all files of the directory, at `root`; `-` is standard input.
///
/// Links are not followed but for `root` itself. The inner files of git are left out, and so is what the kernel
/// makes up, as in `/proc`. Returns whether `root` itself could be read.
pub(crate) fn walk(root: &Path, inventory: &mut Inventory) -> bool {
    let mut finder = Finder::new();
    if root == Path::new("-") {
        let stdin = &mut io::stdin().lock();
        let place = Place {
            path: "(standard input)".to_owned(),
            ..Place::default()
        };
        return read(&mut finder, &place, stdin, inventory);
    }
    if !root.is_dir() {
        // A file that is named is meant, be it a link.
        return visit(root, OFlags::NONBLOCK, &mut finder, inventory);
    }
    let (mut waiting, mut is_root_read) = (vec![root.to_owned()], true);
    while let Some(directory) = waiting.pop() {
        match entries(&directory) {
            Ok(entries) => {
                for (path, kind) in entries {
                    if kind.is_dir() && is_made_up(&path) {
                        continue;
                    }
                    if kind.is_dir() {
                        place(&path, &mut finder, inventory);
                        waiting.push(path);
                    } else if kind.is_file() {
                        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
                        visit(&path, flags, &mut finder, inventory);
                    }
                }
            }
            Err(error) => {
                let path = shown(&mut finder, &directory);
                inventory.note_unreadable(path, &error);
                is_root_read &= directory != root;
            }
        }
    }
    is_root_read
}

/// Returns what is in a directory, in the order of its names.
fn entries(directory: &Path) -> io::Result<Vec<(PathBuf, fs::FileType)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let is_of_git = kind.is_dir() && entry.file_name() == ".git";
        if !is_of_git {
            entries.push((entry.path(), kind));
        }
    }
    entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries)
}

/// Returns whether the kernel makes up what is in a directory: some of it never ends.
fn is_made_up(directory: &Path) -> bool {
    const PROC: u64 = 0x9fa0;
    const SYSFS: u64 = 0x6265_6572;
    statfs(directory).is_ok_and(|found| [PROC, SYSFS].contains(&(found.f_type as u64)))
}

/// Returns whether it could be read.
fn visit(path: &Path, flags: OFlags, finder: &mut Finder, inventory: &mut Inventory) -> bool {
    let place = place(path, finder, inventory);
    let open = || {
        let file = File::options()
            .read(true)
            // Between the look at it and this, it may have become a link, or a pipe that nobody writes to.
            .custom_flags(flags.bits() as i32)
            .open(path)?;
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
    };
    match open() {
        Ok(mut file) => read(finder, &place, &mut file, inventory),
        Err(error) => {
            inventory.note_unreadable(place.path, &error);
            false
        }
    }
}

/// Notes tokens in the last part of a path; returns where that is.
fn place(path: &Path, finder: &mut Finder, inventory: &mut Inventory) -> Place {
    let place = Place {
        path: shown(finder, path),
        ..Place::default()
    };
    let last = path.file_name().unwrap_or_default();
    inventory.note_name(finder, last.as_bytes(), &place);
    place
}

/// Returns whether it was read to its end.
fn read(
    finder: &mut Finder,
    place: &Place,
    stream: &mut impl io::Read,
    inventory: &mut Inventory,
) -> bool {
    let read = inventory.note_stream(finder, stream, place);
    if let Err(error) = &read {
        inventory.note_unreadable(place.path.clone(), error);
    }
    read.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_makes_up_is_told_from_files() {
        assert!(is_made_up(Path::new("/proc")) && is_made_up(Path::new("/proc/self")));
        assert!(!is_made_up(Path::new("/")) && !is_made_up(Path::new("/nowhere")));
    }
}
