//! The file: what is in it, byte by byte, and how it is read and written.
//!
//! It is text. The first line is `workspace-token rollback journal 1 ID`, with 32 hexadecimal digits that
//! are the journal's own. After it come batches: lines `slot WORKSPACE NAME GENERATION TOKEN-ID`, one for each slot that
//! has come to a new generation, then `sync COUNT DIGEST`. The digest is the first 64 bits, in hexadecimal, of SHA-256
//! over the digest before it (of the first batch: the ID) and the batch's `slot` lines.
//!
//! Where a journal was closed in good order, a line `closed DIGEST` repeats the digest of the last batch.
//!
//! A batch is on the disk before the next one is begun, and before anybody is told of what is in it. So what a
//! power failure leaves of the last one is nobody's loss and is cut off; a batch that is broken with
//! others, or a `closed`, behind it was changed by somebody.

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::{
    error::{JournalError, JournalErrorKind},
    floors::SlotReached,
};
use crate::{
    cipher,
    id::{Generation, SlotKey},
};

const HEAD: &str = "workspace-token rollback journal 1 ";

/// The characters of a journal's id.
const ID_LENGTH: usize = 32;

/// The longest line: four words of at most 63 characters, and spaces.
const LONGEST_LINE: u64 = 256;

/// An open journal, which no other process has open.
#[derive(Debug)]
pub(super) struct JournalFile {
    file: File,
    path: PathBuf,
    id: String,
    /// The digest of the last batch.
    digest: String,
    /// Where the last whole batch ends.
    length: u64,
    /// How many `slot` lines there are.
    lines: u64,
    /// How many bytes a power failure left of a batch that nobody was told of.
    cut_off: u64,
    /// What could not be taken back, or may not be on the disk: nothing that is written behind it counts.
    is_broken: bool,
}

impl JournalFile {
    /// Opens the journal at `path` and shows `each` of its lines.
    pub(super) fn open(
        path: &Path,
        mut each: impl FnMut(SlotReached),
    ) -> Result<Self, JournalError> {
        let file = OpenOptions::new().read(true).append(true).open(path)?;
        lock(&file)?;
        refuse_if_replaced(&file, path)?;
        let mut journal = Self::of(file, path)?;
        journal.read(&mut each)?;
        journal.cut_off = journal.file.metadata()?.len() - journal.length;
        if journal.cut_off > 0 {
            journal.file.set_len(journal.length)?;
        }
        // Whoever wrote it may have been killed before it was on the disk: what was read may be in the system's
        // memory alone.
        journal.file.sync_all()?;
        Ok(journal)
    }

    /// Makes an empty journal at `path`, where no file is.
    pub(super) fn create(path: &Path) -> Result<Self, JournalError> {
        let mut random = [0; ID_LENGTH / 2];
        cipher::random::fill(&mut random).map_err(io::Error::other)?;
        if path.try_exists()? {
            return Err(JournalError::new(JournalErrorKind::AlreadyExists));
        }
        let journal = Self::begin(&unfinished(path), &hex(&random))?;
        journal.move_to(path, |unfinished| link(unfinished, path))
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn cut_off(&self) -> u64 {
        self.cut_off
    }

    /// Says that all of it is there: from here on, an end that is missing was taken away.
    pub(super) fn close(&mut self) -> Result<(), JournalError> {
        let line = format!("closed {}\n", self.digest);
        self.write(&line)
    }

    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// Writes a batch to the disk, whole or not at all.
    pub(super) fn append(&mut self, slots: &[SlotReached]) -> Result<(), JournalError> {
        if slots.is_empty() {
            return Ok(());
        }
        let (text, digest) = render(&self.digest, slots);
        self.write(&text)?;
        self.digest = digest;
        self.lines += slots.len() as u64;
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<(), JournalError> {
        if self.is_broken {
            return Err(io::Error::other("a write failed before: open the journal anew").into());
        }
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            self.is_broken = self.file.set_len(self.length).is_err();
            return Err(error.into());
        }
        // What the system could not write once it may forget, and say the next time that all is well.
        self.file
            .sync_data()
            .inspect_err(|_| self.is_broken = true)?;
        self.length += text.len() as u64;
        Ok(())
    }

    /// Shows `each` line once more.
    pub(super) fn read_again(
        &mut self,
        mut each: impl FnMut(SlotReached),
    ) -> Result<(), JournalError> {
        self.digest.clone_from(&self.id);
        self.read(&mut each)
    }

    /// Puts a journal of the same id in the place of this one, with the lines that `pick` wants.
    pub(super) fn rewrite(
        mut self,
        mut pick: impl FnMut(&SlotReached) -> bool,
    ) -> Result<Self, JournalError> {
        let path = self.path.clone();
        let mut replacement = Self::begin(&unfinished(&path), &self.id)?;
        let (mut batch, mut failed) = (Vec::new(), Ok(()));
        self.read_again(|slot| {
            if failed.is_ok() && pick(&slot) {
                batch.push(slot);
                if batch.len() == LARGEST_BATCH {
                    failed = replacement.append(&batch);
                    batch.clear();
                }
            }
        })?;
        failed.and_then(|()| replacement.append(&batch))?;
        replacement.move_to(&path, |unfinished| fs::rename(unfinished, &path))
    }

    /// Makes a file that holds nothing but its first line.
    fn begin(path: &Path, id: &str) -> Result<Self, JournalError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        lock(&file)?;
        file.write_all(format!("{HEAD}{id}\n").as_bytes())?;
        file.sync_all()?;
        Self::of(file, path)
    }

    /// Gives the file its name by `put`, for good.
    fn move_to(
        mut self,
        path: &Path,
        put: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<Self, JournalError> {
        put(&self.path)?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        self.path = path.to_owned();
        Ok(self)
    }

    /// Reads the first line.
    fn of(mut file: File, path: &Path) -> Result<Self, JournalError> {
        let mut head = [0; HEAD.len() + ID_LENGTH + 1];
        file.seek(SeekFrom::Start(0))?;
        let is_whole = match file.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            read => read.map(|()| true)?,
        };
        let text = std::str::from_utf8(&head).ok().filter(|_| is_whole);
        let id = text
            .and_then(|text| text.strip_prefix(HEAD)?.strip_suffix('\n'))
            .filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .ok_or(JournalError::new(JournalErrorKind::NotAJournal))?;
        Ok(Self {
            id: id.to_owned(),
            digest: id.to_owned(),
            length: head.len() as u64,
            lines: 0,
            cut_off: 0,
            is_broken: false,
            path: path.to_owned(),
            file,
        })
    }

    /// Reads all whole batches, from behind the first line on.
    fn read(&mut self, each: &mut impl FnMut(SlotReached)) -> Result<(), JournalError> {
        let mut at = (HEAD.len() + ID_LENGTH + 1) as u64;
        self.file.seek(SeekFrom::Start(at))?;
        (self.length, self.lines) = (at, 0);
        let mut lines = BufReader::new(&self.file);
        let (mut batch, mut torn) = (Batch::default(), Torn::No);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = lines
                .by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            at += read as u64;
            match (&torn, Line::parse(&line)) {
                // What is behind the end of a batch was begun when that batch was on the disk.
                (Torn::ToItsEnd, _) => return Err(JournalError::new(JournalErrorKind::Damaged)),
                (Torn::No, Some(Line::Slot(slot))) => batch.add(&line, slot),
                (Torn::No, Some(Line::Sync { count, digest }))
                    if count == batch.slots.len() && digest == batch.digest(&self.digest) =>
                {
                    self.lines += batch.slots.len() as u64;
                    batch.slots.drain(..).for_each(&mut *each);
                    batch.text.clear();
                    (self.digest, self.length) = (digest.to_owned(), at);
                }
                (Torn::No, Some(Line::Closed { digest }))
                    if batch.slots.is_empty() && digest == self.digest =>
                {
                    self.length = at;
                }
                (_, Some(Line::Closed { .. })) => {
                    return Err(JournalError::new(JournalErrorKind::Damaged));
                }
                (_, Some(Line::Sync { .. })) => torn = Torn::ToItsEnd,
                _ => torn = Torn::Yes,
            }
        }
    }
}

/// Whether the batch that is being read is broken.
enum Torn {
    No,
    /// It is, and its end was read.
    ToItsEnd,
    Yes,
}

/// The lines of a batch whose end is not there yet.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    slots: Vec<SlotReached>,
}

enum Line<'a> {
    Closed { digest: &'a str },
    Slot(SlotReached),
    Sync { count: usize, digest: &'a str },
}

impl Batch {
    fn add(&mut self, line: &[u8], slot: SlotReached) {
        self.text.extend_from_slice(line);
        self.slots.push(slot);
    }

    fn digest(&self, before: &str) -> String {
        digest(before, &self.text)
    }
}

impl<'a> Line<'a> {
    /// Reads a line with its end; `None` if it is none that we write.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let mut words = text.split(' ');
        let parsed = match words.next()? {
            "slot" => {
                let key = SlotKey::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                let generation = Generation::from_number(words.next()?.parse().ok()?)?;
                Self::Slot(SlotReached::new(
                    key,
                    generation,
                    words.next()?.parse().ok()?,
                ))
            }
            "closed" => Self::Closed {
                digest: words.next()?,
            },
            "sync" => Self::Sync {
                count: words.next()?.parse().ok()?,
                digest: words.next()?,
            },
            _ => return None,
        };
        words.next().is_none().then_some(parsed)
    }
}

/// Renders a batch; returns its digest too.
fn render(before: &str, slots: &[SlotReached]) -> (String, String) {
    let mut text = String::with_capacity(slots.len() * 96 + 32);
    for slot in slots {
        let SlotKey { workspace, name } = slot.key;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "slot {workspace} {name} {} {}",
            slot.generation, slot.token_id
        );
    }
    let digest = digest(before, text.as_bytes());
    let _ = writeln!(text, "sync {} {digest}", slots.len());
    (text, digest)
}

fn digest(before: &str, text: &[u8]) -> String {
    hex(&cipher::sha256(&[before.as_bytes(), text])[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the name of a journal that is not whole yet.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    // Two that begin a journal at once do not get in each other's way.
    name.push(format!(".{}.new", std::process::id()));
    name.into()
}

/// Gives a file its name, unless there is one of that name.
fn link(unfinished: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(unfinished, path) {
        Ok(()) => fs::remove_file(unfinished),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let _ = fs::remove_file(unfinished);
            Err(error)
        }
        // A file system without links: nobody but us is expected to begin it.
        Err(_) => fs::rename(unfinished, path),
    }
}

/// Refuses a file that lost its name to another one between opening and locking it.
fn refuse_if_replaced(file: &File, path: &Path) -> Result<(), JournalError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let (opened, named) = (file.metadata()?, fs::metadata(path)?);
        if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
            return Err(JournalError::new(JournalErrorKind::InUse));
        }
    }
    #[cfg(not(unix))]
    let _ = (file, path);
    Ok(())
}

fn lock(file: &File) -> Result<(), JournalError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(JournalError::new(JournalErrorKind::InUse)),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// What one `fdatasync` serves at most.
pub(super) const LARGEST_BATCH: usize = 1024;
