//! The cases that are kept of a target, and what is made of them by changes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};

/// What is done to a kept case.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// Bytes are put in.
    Insert(Index, Vec<u8>),
    /// Bytes are taken out.
    Remove(Index, u8),
    /// A byte is replaced.
    Replace(Index, u8),
    /// A piece of another case, or a word of the dictionary, is put in.
    Splice(Index, Index, Index, u8),
    Word(Index, Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        (at(), vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (at(), 1..9_u8).prop_map(|(at, length)| Edit::Remove(at, length)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        (at(), at(), at(), 1..32_u8)
            .prop_map(|(at, other, from, length)| Edit::Splice(at, other, from, length)),
        (at(), at()).prop_map(|(at, word)| Edit::Word(at, word)),
    ]
}

/// The cases of a target, and the words that they are made of.
pub(crate) struct Kept {
    pub(crate) cases: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Kept {
    /// Tries that many changed cases.
    ///
    /// # Panics
    /// `check` does for one of them; the smallest such case is told.
    pub(crate) fn try_changed(&self, cases: u32, check: impl Fn(&[u8])) {
        let mut runner = TestRunner::new(Config {
            cases,
            failure_persistence: None,
            ..Config::default()
        });
        let changes = (any::<Index>(), vec(edit(), 0..6));
        let ran = runner.run(&changes, |(case, edits)| {
            check(&self.changed(case, &edits));
            Ok(())
        });
        if let Err(failure) = ran {
            panic!("{failure}");
        }
    }

    pub(crate) fn of(target: &str) -> Self {
        let folder = folder();
        let files = fs::read_dir(folder.join("corpus").join(target)).expect("a corpus");
        let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        // In the order of their names, so that a seed means the same everywhere.
        files.sort();
        let cases = files.iter().map(|file| fs::read(file).expect("a case"));
        let dictionary = folder.join("dictionaries").join(format!("{target}.dict"));
        let dictionary = fs::read_to_string(dictionary).expect("a dictionary");
        let words = dictionary
            .lines()
            .filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'))
            .map(|word| word.replace("\\\"", "\"").replace("\\x0a", "\n"))
            .map(String::into_bytes);
        Self {
            cases: cases.collect(),
            words: words.collect(),
        }
    }

    fn changed(&self, case: Index, edits: &[Edit]) -> Vec<u8> {
        let mut case = case.get(&self.cases).clone();
        for edit in edits {
            match edit {
                Edit::Insert(at, bytes) => put(&mut case, at, bytes),
                Edit::Remove(at, length) if !case.is_empty() => {
                    let start = at.index(case.len());
                    let end = case.len().min(start + usize::from(*length));
                    case.drain(start..end);
                }
                Edit::Replace(at, byte) if !case.is_empty() => *at.get_mut(&mut case) = *byte,
                Edit::Remove(..) | Edit::Replace(..) => {}
                Edit::Splice(at, other, from, length) => {
                    let other = other.get(&self.cases);
                    let start = from.index(other.len() + 1);
                    let end = other.len().min(start + usize::from(*length));
                    put(&mut case, at, &other[start..end]);
                }
                Edit::Word(at, word) => put(&mut case, at, &word.get(&self.words)[..]),
            }
        }
        case
    }
}

/// `fuzz/`, also for the server's tests.
fn folder() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fuzz = package.with_file_name("fuzz");
    if fuzz.is_dir() {
        fuzz
    } else {
        package.to_owned()
    }
}

fn put(case: &mut Vec<u8>, at: &Index, bytes: &[u8]) {
    let at = at.index(case.len() + 1);
    case.splice(at..at, bytes.iter().copied());
}
