//! [`Shim`]: the C library between `wst` and libc, what it has written down, and its knobs.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::TempDir;

/// A shim for the processes of one place.
pub(crate) struct Shim {
    library: &'static Path,
    own: TempDir,
    knobs: File,
    moves_clock: bool,
    keeps_log: bool,
}

/// The knobs, in the order of `struct control` in shim.c.
enum Knob {
    FailAt,
    How,
    Error,
    Seen,
    Failed,
    Seconds,
}

/// How operations fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// One of them.
    Once,
    /// All from one on.
    FromThereOn,
    /// One is done by half if it is a write, and all after it fail: a disk that fills up.
    CutShort,
    /// None: the process is killed before one of them.
    Killed,
}

/// Something that a process did to its files, or said.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A process began, so that nothing is open.
    Start,
    Open {
        fd: i32,
        path: PathBuf,
        created: bool,
        emptied: bool,
    },
    Close {
        fd: i32,
    },
    Write {
        fd: i32,
        at: usize,
        data: Vec<u8>,
    },
    Truncate {
        fd: i32,
        length: usize,
    },
    Sync {
        fd: i32,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    MakeDirectory {
        path: PathBuf,
    },
    Duplicate {
        fd: i32,
        copy: i32,
    },
    /// Something was said on standard output or answered over HTTP.
    Told {
        data: Vec<u8>,
    },
}

impl Shim {
    /// Builds the library, or says why it cannot be used here.
    pub(crate) fn new() -> Result<Self, &'static str> {
        static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
        if !cfg!(target_os = "linux") {
            return Err("LD_PRELOAD is Linux's");
        }
        let library = LIBRARY.get_or_init(build).as_deref();
        let library = library.ok_or("there is no C compiler `cc`")?;
        let own = tempfile::tempdir().unwrap();
        fs::write(own.path().join("knobs"), [0; 64]).unwrap();
        fs::write(own.path().join("log"), []).unwrap();
        let knobs = File::options()
            .read(true)
            .write(true)
            .open(own.path().join("knobs"));
        Ok(Self {
            library,
            knobs: knobs.unwrap(),
            own,
            moves_clock: false,
            keeps_log: false,
        })
    }

    /// Writes down what happens to files.
    pub(crate) fn keeping_log(mut self) -> Self {
        self.keeps_log = true;
        self
    }

    /// Lets the wall clock be moved.
    pub(crate) fn moving_clock(mut self) -> Result<Self, &'static str> {
        if !cfg!(target_arch = "x86_64") {
            return Err("only the vDSO of x86-64 is known");
        }
        self.moves_clock = true;
        Ok(self)
    }

    /// Puts the library before libc in a process that works below `root`.
    pub(crate) fn preload(&self, command: &mut Command, root: &Path) {
        command
            .env("LD_PRELOAD", self.library)
            .env("CRASH_ROOT", root)
            .env("CRASH_CONTROL", self.own.path().join("knobs"));
        if self.keeps_log {
            command.env("CRASH_LOG", self.own.path().join("log"));
        }
        if self.moves_clock {
            command.env("CRASH_CLOCK", "1");
        }
    }

    /// Lets the operation `at` from here on fail, counted from 1.
    pub(crate) fn fail(&self, at: u64, how: How, error: rustix::io::Errno) {
        self.relent();
        self.set(Knob::Seen, 0);
        self.set(Knob::Failed, 0);
        self.set(Knob::How, how as u64);
        self.set(Knob::Error, error.raw_os_error() as u64);
        self.set(Knob::FailAt, at);
    }

    /// Lets nothing fail any more; returns how many operations did.
    pub(crate) fn relent(&self) -> u64 {
        self.set(Knob::FailAt, 0);
        self.get(Knob::Failed)
    }

    /// Moves the wall clock by so many seconds, seen from the real time.
    pub(crate) fn move_clock(&self, seconds: i64) {
        self.set(Knob::Seconds, seconds as u64);
    }

    fn set(&self, knob: Knob, value: u64) {
        self.knobs
            .write_at(&value.to_ne_bytes(), knob as u64 * 8)
            .unwrap();
    }

    fn get(&self, knob: Knob) -> u64 {
        let mut bytes = [0; 8];
        self.knobs
            .read_exact_at(&mut bytes, knob as u64 * 8)
            .unwrap();
        u64::from_ne_bytes(bytes)
    }

    /// Returns how long the log is.
    pub(crate) fn log_length(&self) -> usize {
        let log = fs::metadata(self.own.path().join("log")).unwrap();
        log.len() as usize
    }

    /// Reads the log: each event, and where in the log it ends.
    pub(crate) fn read_log(&self) -> Vec<(Event, usize)> {
        let log = fs::read(self.own.path().join("log")).unwrap();
        let mut events = Vec::new();
        let mut at = 0;
        while at < log.len() {
            let (event, length) = read_event(&log[at..]);
            at += length;
            events.push((event, at));
        }
        events
    }
}

/// Compiles the library once for all tests; it stays with the process.
fn build() -> Option<PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crashes/shim.c");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (unfinished, library) = (
        folder.join(format!("shim-{}.so", std::process::id())),
        folder.join("shim.so"),
    );
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut compile = Command::new(compiler);
    compile.args([
        "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o",
    ]);
    compile
        .arg(&unfinished)
        .arg(source)
        .args(["-ldl", "-pthread"]);
    let status = compile.status().ok()?;
    assert!(status.success(), "the shim does not compile");
    fs::rename(unfinished, &library).unwrap();
    Some(library)
}

fn read_event(log: &[u8]) -> (Event, usize) {
    let word = |at: usize| u32::from_ne_bytes(log[at..at + 4].try_into().unwrap());
    let (what, fd) = (word(0), word(4) as i32);
    let at = u64::from_ne_bytes(log[8..16].try_into().unwrap()) as usize;
    let (first_length, second_length) = (word(16) as usize, word(20) as usize);
    let (first, rest) = log[24..].split_at(first_length);
    let second = &rest[..second_length];
    let path = |bytes| PathBuf::from(OsStr::from_bytes(bytes));
    let event = match what {
        1 => Event::Start,
        2 => Event::Open {
            fd,
            path: path(first),
            created: at & 1 != 0,
            emptied: at & 2 != 0,
        },
        3 => Event::Close { fd },
        4 => Event::Write {
            fd,
            at,
            data: first.to_vec(),
        },
        5 => Event::Truncate { fd, length: at },
        6 => Event::Sync { fd },
        7 => Event::Rename {
            from: path(first),
            to: path(second),
        },
        8 => Event::Link {
            from: path(first),
            to: path(second),
        },
        9 => Event::Unlink { path: path(first) },
        10 => Event::MakeDirectory { path: path(first) },
        11 => Event::Duplicate {
            fd,
            copy: at as i32,
        },
        12 => Event::Told {
            data: [first, second].concat(),
        },
        _ => panic!("the log is damaged"),
    };
    (event, 24 + first_length + second_length)
}
