//! [`Home`], a place where `wst` runs; [`Server`], a running one; [`Answer`], what it says over HTTP.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tower_workspace_token::clock::{Clock as _, Moment, SystemClock};

/// An empty directory and the options that `wst` gets in it.
pub(crate) struct Home {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

/// A server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    address: String,
    log: PathBuf,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A workspace as `workspace create` told of it.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) mcp_url: String,
}

/// Says how much time has gone by.
pub(crate) struct Stopwatch(Moment);

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Says that something is over when it is dropped, also by a test that fails.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    /// Sets a variable for all that is run from here on.
    pub(crate) fn with_variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data_dir().join("workspaces.db")
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.data_dir().join("workspaces.keys")
    }

    /// Prepares a command that runs here and sees no variable of the machine's own `wst`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wst"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WST_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done::of(self.command(arguments))
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Done {
        let mut command = self.command(arguments);
        let file = self.path("input");
        fs::write(&file, input).unwrap();
        command.stdin(File::open(file).unwrap());
        Done::of(command)
    }

    /// Runs a command that has to succeed, and reads its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let done = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(done.code, 0, "{arguments:?}: {}", done.stderr);
        serde_json::from_str(&done.stdout).unwrap()
    }

    /// Runs a command that has to fail, and returns its exit code and the code of its error.
    pub(crate) fn failure(&self, arguments: &[&str]) -> (i32, String) {
        let done = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(done.stdout, "", "{arguments:?}");
        let error: Value = serde_json::from_str(&done.stderr).unwrap();
        let code = error["error"]["code"].as_str().unwrap();
        assert!(error["error"]["message"].is_string());
        (done.code, code.to_owned())
    }

    pub(crate) fn create_workspace(&self, name: &str) -> Workspace {
        let created = self.json(&["workspace", "create", name]);
        Workspace {
            id: text(&created["workspace"]["id"]),
            secret: text(&created["secret"]),
            mcp_url: text(&created["mcp_url"]),
        }
    }

    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    pub(crate) fn serve_with(&self, arguments: &[&str]) -> Server {
        self.serve_alone(&[&["--listen", "127.0.0.1:0"], arguments].concat())
    }

    /// The same without an option of our own.
    pub(crate) fn serve_alone(&self, arguments: &[&str]) -> Server {
        let log = self.path("log");
        let written = File::options().create(true).append(true).open(&log);
        let mut child = self
            .command(&[&["serve"], arguments].concat())
            .stdout(Stdio::piped())
            .stderr(written.unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on http");
        let address =
            url.and_then(|url| url.strip_prefix("://").or_else(|| url.strip_prefix("s://")));
        let address = address.unwrap_or_else(|| panic!("{line:?} {}", read(&log)));
        Server {
            address: address.to_owned(),
            child,
            log,
        }
    }

    /// Runs a server that has to give up, and returns what it says.
    pub(crate) fn serve_in_vain(&self, arguments: &[&str]) -> Done {
        self.serve_in_vain_alone(&[&["--listen", "127.0.0.1:0"], arguments].concat())
    }

    /// The same without an option of our own.
    pub(crate) fn serve_in_vain_alone(&self, arguments: &[&str]) -> Done {
        let arguments = [&["serve"], arguments].concat();
        let mut child = self
            .command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let watch = Stopwatch::start();
        while child.try_wait().unwrap().is_none() {
            if watch.elapsed() > Duration::from_secs(20) {
                child.kill().unwrap();
                panic!("the server runs: {arguments:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Done::from(child.wait_with_output().unwrap())
    }
}

impl Server {
    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    /// Asks the admin listener, wherever it said that it is.
    pub(crate) fn ask_admin(&self, path: &str, host: &str) -> Answer {
        let log = self.log();
        let (_, said) = log.rsplit_once("admin on http://").unwrap();
        let address = said.lines().next().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        exchange(stream, &head)
    }

    pub(crate) fn metrics(&self) -> String {
        let answer = self.ask_admin("/metrics", "127.0.0.1");
        assert_eq!(answer.status, 200);
        answer.body
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    /// Sends a request without a body; `Host` is the server's own unless `headers` has one.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut head = format!("{method} {target} HTTP/1.1\r\nconnection: close\r\n");
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            head.push_str(&format!("host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.send(&head)
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&self, request: &str) -> Answer {
        exchange(self.connect(), request)
    }

    /// Returns the status that a token gets at a workspace.
    pub(crate) fn status_of(&self, workspace: &str, token: &str) -> u16 {
        let bearer = format!("Bearer {token}");
        let target = format!("/mcp/{workspace}");
        self.ask("POST", &target, &[("authorization", &bearer)])
            .status
    }

    /// Whether a token is let in at a workspace, whatever is behind.
    pub(crate) fn admits(&self, workspace: &str, token: &str) -> bool {
        self.status_of(workspace, token) != 401
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Tells the server to stop; returns its exit code and how long it took.
    pub(crate) fn stop(mut self, signal: Signal) -> (Option<i32>, Duration) {
        let watch = Stopwatch::start();
        self.signal(signal);
        let status = self.child.wait().unwrap();
        (status.code(), watch.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(SystemClock.moment())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        SystemClock.moment().saturating_since(self.0)
    }
}

impl Done {
    pub(crate) fn of(mut command: Command) -> Self {
        Self::from(command.output().unwrap())
    }
}

impl From<std::process::Output> for Done {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn exchange(mut stream: TcpStream, request: &str) -> Answer {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Returns the names of an object's fields, in order.
pub(crate) fn fields(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names
}

pub(crate) fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

/// Makes a repository in `directory` lack a part of its index that git would have a program fetch, which
/// makes `marker`.
pub(crate) fn lacks_a_tree(directory: &Path, marker: &Path) {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
            .args(arguments)
            .current_dir(directory);
        let done = Done::of(git);
        assert_eq!(done.code, 0, "{arguments:?}: {}", done.stderr);
        done.stdout.trim().to_owned()
    };
    fs::create_dir(directory.join("apart")).unwrap();
    fs::write(directory.join("apart/file"), "1").unwrap();
    git(&["add", "apart"]);
    git(&["commit", "-q", "-m", "apart"]);
    git(&["sparse-checkout", "set", "--cone", "--sparse-index"]);
    let tree = git(&["rev-parse", "HEAD:apart"]);
    let (folder, file) = tree.split_at(2);
    fs::remove_file(directory.join(".git/objects").join(folder).join(file)).unwrap();
    let run = format!("touch '{}'; false", marker.display());
    let here = format!("file://{}", directory.display());
    for (key, value) in [
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.url", &here),
        ("remote.origin.promisor", "true"),
        ("remote.origin.uploadpack", &run),
    ] {
        git(&["config", key, value]);
    }
}
