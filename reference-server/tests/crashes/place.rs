//! [`Place`]: a folder in which `wst` runs, with the [shim](crate::shim) or without.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use tempfile::TempDir;

use crate::{
    client::{Agent, Control},
    shim::Shim,
};

/// A folder that goes with the value, unless a test fails.
pub(crate) struct Place {
    directory: Option<TempDir>,
    shim: Option<Shim>,
    has_journal: bool,
}

/// A server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    address: String,
    data_dir: PathBuf,
}

/// What a command or a server came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: Some(tempfile::tempdir().unwrap()),
            shim: None,
            has_journal: false,
        }
    }

    /// A place in memory, where there is such a thing: nothing waits for a disk.
    pub(crate) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        Self {
            directory: Some(directory.unwrap()),
            shim: None,
            has_journal: false,
        }
    }

    /// Runs everything from here on under the shim.
    pub(crate) fn with_shim(mut self, shim: Shim) -> Self {
        self.shim = Some(shim);
        self
    }

    /// Has the server keep a rollback journal, in a directory of its own.
    pub(crate) fn with_journal(mut self) -> Self {
        self.has_journal = true;
        fs::create_dir(self.path().join("elsewhere")).unwrap();
        self
    }

    /// Where the rollback journal is, if there is one.
    pub(crate) fn journal(&self) -> Option<PathBuf> {
        let path = self.path().join("elsewhere/journal");
        self.has_journal.then_some(path)
    }

    pub(crate) fn shim(&self) -> &Shim {
        self.shim.as_ref().unwrap()
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.as_ref().unwrap().path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data_dir().join("workspaces.db")
    }

    /// What the last server said on standard error.
    pub(crate) fn log(&self) -> String {
        self.read(SERVER_LOG)
    }

    fn read(&self, log: &str) -> String {
        let log = fs::read(self.path().join(log)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Starts a command that works with the server or without one.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments, COMMAND_LOG).spawn().unwrap()
    }

    /// Prepares a process that sees no variable of the machine's own `wst`.
    fn command(&self, arguments: &[&str], log: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wst"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WST_") {
                command.env_remove(name);
            }
        }
        if let Some(shim) = &self.shim {
            shim.preload(&mut command, self.path());
        }
        command
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(arguments)
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(self.path().join(log)).unwrap());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.wait(self.start(arguments))
    }

    /// Waits for a command.
    pub(crate) fn wait(&self, child: Child) -> Ended {
        self.ended(child, COMMAND_LOG)
    }

    fn ended(&self, child: Child, log: &str) -> Ended {
        let output = child.wait_with_output().unwrap();
        Ended {
            status: output.status,
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: self.read(log),
        }
    }

    /// Starts a server, or returns why there is none.
    pub(crate) fn serve(&self) -> Result<Server, Ended> {
        let many = "--failed-tokens-per-minute=1000000";
        let journal = self
            .journal()
            .map(|path| format!("--rollback-journal={}", path.display()));
        let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", many];
        arguments.extend(journal.as_deref());
        let mut child = self.command(&arguments, SERVER_LOG).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        // What comes after the line nobody reads, and nothing does.
        stdout.read_line(&mut line).unwrap();
        // What is told after that may fail as well; only then are commands answered.
        let answers = || Control::connect(&self.data_dir())?.is_answered();
        let address = line.trim().strip_prefix("listening on http://");
        match address.filter(|_| answers().is_ok()) {
            Some(address) => Ok(Server {
                child,
                address: address.to_owned(),
                data_dir: self.data_dir(),
            }),
            None => Err(self.ended(child, SERVER_LOG)),
        }
    }

    /// Starts a server that has to start.
    pub(crate) fn must_serve(&self, why: &str) -> Server {
        let served = self.serve();
        served.unwrap_or_else(|ended| panic!("{why}: the server does not start: {ended:?}"))
    }

    /// Fails if the program panicked.
    pub(crate) fn refuse_panics(&self, why: &str) {
        let log = self.log();
        assert!(!log.contains("panicked"), "{why}: {log}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(directory) = self.directory.take()
        {
            eprintln!(
                "left for whoever looks into it: {}",
                directory.keep().display()
            );
        }
    }
}

impl Server {
    pub(crate) fn agent(&self) -> Agent {
        Agent::connect(&self.address).unwrap()
    }

    pub(crate) fn control(&self) -> Control {
        Control::connect(&self.data_dir).unwrap()
    }

    /// Kills it in the midst of whatever it does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop, and waits.
    pub(crate) fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SERVER_LOG: &str = "server-log";
const COMMAND_LOG: &str = "command-log";
