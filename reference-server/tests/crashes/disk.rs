//! [`Disk`]: what a file system has promised to keep, and what it may do with the rest.
//!
//! Bytes are kept once their file was synced, names once their directory was; until then a power cut may keep any
//! part of them, in any order between files, and of a write any of its sectors. That is less than the usual file
//! systems promise, and what POSIX does.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use fastrand::Rng;

use crate::shim::Event;

/// Files and directories below one that is itself safe.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    files: Vec<Contents>,
    /// Names as processes see them, and as they are kept.
    seen: BTreeMap<PathBuf, Node>,
    kept: BTreeMap<PathBuf, Node>,
    /// Changes of names that are not kept yet, in their order.
    renamed: Vec<Naming>,
    open: HashMap<i32, Opened>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File(usize),
}

/// A change of a name: what it stands for from now on.
#[derive(Clone, Debug)]
struct Naming {
    changes: Vec<(PathBuf, Option<Node>)>,
}

#[derive(Debug, Default)]
struct Contents {
    kept: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write { at: usize, data: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
enum Opened {
    Directory(PathBuf),
    File(usize),
}

/// What a power cut takes of all that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Everything,
    /// As a kill does.
    Nothing,
    /// Any of it, each sector for itself.
    Sectors,
    /// What came last, of each file for itself.
    Tail,
}

impl Cut {
    pub(crate) const ALL: [Self; 4] = [Self::Everything, Self::Nothing, Self::Tail, Self::Sectors];
}

impl Disk {
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Start => self.open.clear(),
            Event::Open {
                fd,
                path,
                created,
                emptied,
            } => self.opened(*fd, path, *created, *emptied),
            Event::Close { fd } => {
                self.open.remove(fd);
            }
            Event::Duplicate { fd, copy } => {
                let opened = self.open[fd].clone();
                self.open.insert(*copy, opened);
            }
            Event::Write { fd, at, data } => {
                let data = data.clone();
                self.file(*fd).changes.push(Change::Write { at: *at, data });
            }
            Event::Truncate { fd, length } => self.file(*fd).changes.push(Change::Length(*length)),
            Event::Sync { fd } => self.sync(*fd),
            Event::Rename { from, to } => {
                let node = self.seen[from];
                self.name(vec![(to.clone(), Some(node)), (from.clone(), None)]);
            }
            Event::Link { from, to } => {
                let node = self.seen[from];
                self.name(vec![(to.clone(), Some(node))]);
            }
            Event::Unlink { path } => {
                // Sockets have names and are no files here.
                if self.seen.contains_key(path) {
                    self.name(vec![(path.clone(), None)]);
                }
            }
            Event::MakeDirectory { path } => {
                self.name(vec![(path.clone(), Some(Node::Directory))]);
            }
            Event::Told { .. } => {}
        }
    }

    fn opened(&mut self, fd: i32, path: &Path, created: bool, emptied: bool) {
        if created {
            self.files.push(Contents::default());
            let node = Node::File(self.files.len() - 1);
            self.name(vec![(path.to_owned(), Some(node))]);
        }
        let opened = match self.seen.get(path) {
            Some(Node::File(file)) => Opened::File(*file),
            // The one that everything is in has no name here.
            Some(Node::Directory) | None => Opened::Directory(path.to_owned()),
        };
        self.open.insert(fd, opened);
        if emptied {
            self.file(fd).changes.push(Change::Length(0));
        }
    }

    fn file(&mut self, fd: i32) -> &mut Contents {
        match &self.open[&fd] {
            Opened::File(file) => &mut self.files[*file],
            Opened::Directory(path) => panic!("{} is no file", path.display()),
        }
    }

    fn name(&mut self, changes: Vec<(PathBuf, Option<Node>)>) {
        let naming = Naming { changes };
        naming.apply(&mut self.seen);
        self.renamed.push(naming);
    }

    fn sync(&mut self, fd: i32) {
        match self.open[&fd].clone() {
            Opened::File(file) => {
                let contents = &mut self.files[file];
                for change in contents.changes.drain(..) {
                    change.apply(&mut contents.kept);
                }
            }
            Opened::Directory(path) => {
                let (now, later) = std::mem::take(&mut self.renamed)
                    .into_iter()
                    .partition(|naming| naming.is_in(&path));
                self.renamed = later;
                let now: Vec<Naming> = now;
                for naming in now {
                    naming.apply(&mut self.kept);
                }
            }
        }
    }

    /// Returns whether bytes of the file at `path` are not kept yet.
    pub(crate) fn is_waiting(&self, path: &Path) -> bool {
        match self.seen.get(path) {
            Some(Node::File(file)) => !self.files[*file].changes.is_empty(),
            _ => false,
        }
    }

    /// Puts what is left after a power cut in `root`, where there was nothing yet.
    pub(crate) fn cut(&self, how: Cut, dice: &mut Rng, from: &Path, root: &Path) {
        let mut names = self.kept.clone();
        let first = dice.usize(..=self.renamed.len());
        for (number, naming) in self.renamed.iter().enumerate() {
            let is_there = match how {
                Cut::Everything => false,
                Cut::Nothing => true,
                Cut::Tail => number < first,
                Cut::Sectors => dice.bool(),
            };
            if is_there {
                naming.apply(&mut names);
            }
        }
        for (path, node) in &names {
            let place = root.join(path.strip_prefix(from).unwrap());
            match node {
                Node::Directory => make_private(&place),
                // What is in a directory whose own name was lost is lost as well.
                Node::File(_) if !place.parent().unwrap().is_dir() => {}
                Node::File(file) => write_private(&place, &self.files[*file].cut(how, dice)),
            }
        }
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        for (path, node) in &self.changes {
            match node {
                Some(node) => names.insert(path.clone(), *node),
                None => names.remove(path),
            };
        }
    }

    fn is_in(&self, directory: &Path) -> bool {
        let (path, _) = &self.changes[0];
        path.parent() == Some(directory)
    }
}

impl Contents {
    fn cut(&self, how: Cut, dice: &mut Rng) -> Vec<u8> {
        let mut bytes = self.kept.clone();
        let first = dice.usize(..=self.changes.len());
        for (number, change) in self.changes.iter().enumerate() {
            match how {
                Cut::Everything => {}
                Cut::Nothing => change.apply(&mut bytes),
                Cut::Tail if number < first => change.apply(&mut bytes),
                Cut::Tail => {}
                Cut::Sectors => change.apply_in_part(&mut bytes, dice),
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write { at, data } => overwrite(bytes, *at, data),
        }
    }

    fn apply_in_part(&self, bytes: &mut Vec<u8>, dice: &mut Rng) {
        match self {
            Self::Length(_) if dice.bool() => self.apply(bytes),
            Self::Length(_) => {}
            Self::Write { at, data } => {
                let (mut at, mut data) = (*at, data.as_slice());
                while !data.is_empty() {
                    let length = (SECTOR - at % SECTOR).min(data.len());
                    let (sector, rest) = data.split_at(length);
                    if dice.bool() {
                        overwrite(bytes, at, sector);
                    }
                    (at, data) = (at + length, rest);
                }
            }
        }
    }
}

fn overwrite(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    let end = at + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(data);
}

fn make_private(path: &Path) {
    use std::os::unix::fs::DirBuilderExt as _;
    // One below another that was lost is lost as well.
    let _ = fs::DirBuilder::new().mode(0o700).create(path);
}

fn write_private(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// What a disk writes at once.
const SECTOR: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn left(disk: &Disk, how: Cut) -> BTreeMap<String, Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let mut dice = Rng::with_seed(7);
        disk.cut(how, &mut dice, Path::new("/r"), folder.path());
        let entries = fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
        let files = entries.map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        });
        files.collect()
    }

    fn open(fd: i32, path: &str, created: bool) -> Event {
        let path = path.into();
        Event::Open {
            fd,
            path,
            created,
            emptied: false,
        }
    }

    fn write(fd: i32, at: usize, data: &[u8]) -> Event {
        let data = data.to_vec();
        Event::Write { fd, at, data }
    }

    #[test]
    fn keeps_what_was_synced_and_may_lose_the_rest() {
        let mut disk = Disk::default();
        disk.apply(&open(3, "/r", false));
        disk.apply(&open(4, "/r/a", true));
        disk.apply(&write(4, 0, b"one"));
        assert!(disk.is_waiting(Path::new("/r/a")));
        disk.apply(&Event::Sync { fd: 4 });
        assert!(!disk.is_waiting(Path::new("/r/a")));
        assert!(
            left(&disk, Cut::Everything).is_empty(),
            "it has no name yet"
        );
        disk.apply(&Event::Sync { fd: 3 });
        disk.apply(&write(4, 3, b"two"));
        let (from, to) = ("/r/a".into(), "/r/b".into());
        disk.apply(&Event::Rename { from, to });
        let name = |name: &str, bytes: &[u8]| [(name.to_owned(), bytes.to_vec())].into();
        assert_eq!(left(&disk, Cut::Everything), name("a", b"one"));
        assert_eq!(left(&disk, Cut::Nothing), name("b", b"onetwo"));
        disk.apply(&Event::Sync { fd: 3 });
        assert_eq!(left(&disk, Cut::Everything), name("b", b"one"));
    }

    #[test]
    fn tears_what_is_longer_than_a_sector() {
        let mut disk = Disk::default();
        disk.apply(&open(3, "/r", false));
        disk.apply(&open(4, "/r/a", true));
        disk.apply(&Event::Sync { fd: 3 });
        disk.apply(&write(4, 100, &[1; 100 * SECTOR]));
        let torn = &left(&disk, Cut::Sectors)["a"];
        let there = torn.iter().filter(|byte| **byte == 1).count();
        assert!((20 * SECTOR..80 * SECTOR).contains(&there), "{there}");
        assert!(
            torn[SECTOR..]
                .chunks(SECTOR)
                .all(|sector| sector.iter().all(|byte| *byte == sector[0]))
        );
    }
}
