//! [`Node`]: a `wst serve` with a data directory and a way to the database of its own, and [`World`], all of them.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    agent::{Agent, Ask},
    cluster::{Admin, Cluster, free_port},
    control::Control,
    namespace::Namespace,
    proxy::{Network, Proxy},
    until,
};

/// A database and the nodes on it, of which the first one rotates.
pub(crate) struct World {
    cluster: Mutex<Cluster>,
    pub(crate) database: u16,
    pub(crate) nodes: Vec<Node>,
    pub(crate) workspace: String,
    /// The token that holds.
    pub(crate) token: String,
}

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: String,
    way: Way,
    directory: TempDir,
    options: Vec<String>,
    server: Mutex<Option<Child>>,
}

/// How a node reaches the database.
enum Way {
    Packets(Namespace),
    Proxy(Proxy),
}

impl World {
    /// Starts so many nodes; `None`, with a word, where there is no PostgreSQL.
    pub(crate) fn start(nodes: usize, options: &[&str]) -> Option<Self> {
        Self::start_with(nodes, options, None)
    }

    /// Starts three nodes, of which the second one is in a namespace; `None`, with a word, where that cannot be.
    pub(crate) fn start_with_namespace() -> Option<Self> {
        match Namespace::create() {
            Ok(namespace) => Self::start_with(3, &[], Some(namespace)),
            Err(why) => {
                println!("skipped: no network of a node's own: {why}");
                None
            }
        }
    }

    fn start_with(
        nodes: usize,
        options: &[&str],
        mut of_second: Option<Namespace>,
    ) -> Option<Self> {
        let cluster = Cluster::start(of_second.as_ref())?;
        let database = cluster.port();
        let mut started: Vec<Node> = Vec::new();
        for number in 0..nodes {
            let key = started.first().map(Node::key_file);
            let name = format!("node-{number}");
            let way = match of_second.take_if(|_| number == 1) {
                Some(namespace) => Way::Packets(namespace),
                None => Way::Proxy(Proxy::to(database)),
            };
            let node = Node::start(&name, way, database, key.as_deref(), options);
            started.push(node);
        }
        let created = started[0].act("/workspaces", &json!({ "name": "acme" }));
        let (_, created) = created.unwrap();
        let world = Self {
            cluster: Mutex::new(cluster),
            database,
            nodes: started,
            workspace: created["workspace"]["id"].as_str().unwrap().to_owned(),
            token: created["secret"].as_str().unwrap().to_owned(),
        };
        world.until_all_accept(&world.token);
        Some(world)
    }

    pub(crate) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn admin(&self) -> Admin {
        self.cluster().admin()
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        let addresses = self.nodes.iter().map(|node| node.address.clone());
        addresses.collect()
    }

    /// Waits until every node accepts a token, with a tool that reads the database.
    #[track_caller]
    pub(crate) fn until_all_accept(&self, token: &str) {
        for node in &self.nodes {
            let mut agent = node.agent(&self.workspace, token);
            let accepts = || agent.ask(Ask::Tool).is_ok_and(|reply| reply.status == 200);
            until(&node.name, Duration::from_secs(30), accepts);
        }
    }

    /// Rotates on a node; the new token, or what was answered in place of it.
    pub(crate) fn rotate_on(&self, node: usize) -> Result<String, String> {
        let path = format!("/workspaces/{}/tokens/primary/rotate", self.workspace);
        let acted = self.nodes[node].act(&path, &json!({}));
        match acted.map_err(|error| error.to_string())? {
            (200, receipt) => Ok(receipt["secret"].as_str().unwrap().to_owned()),
            (status, body) => Err(format!("{status} {body}")),
        }
    }
}

impl Node {
    fn start(name: &str, way: Way, database: u16, key: Option<&Path>, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut all: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let (host, (database, port)) = match &way {
            Way::Packets(namespace) => {
                all.push("--insecure-http".to_owned());
                (namespace.of_node(), (namespace.of_test(), database))
            }
            Way::Proxy(proxy) => {
                let here = Ipv4Addr::LOCALHOST;
                (here, (here, proxy.port()))
            }
        };
        all.push(format!(
            "--database=postgres://postgres@{database}:{port}/postgres?sslmode=disable&application_name={name}"
        ));
        if let Some(key) = key {
            let copy = directory.path().join("copy.keys");
            fs::copy(key, &copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
            all.push(format!("--key-file={}", copy.display()));
        }
        let address = format!("{host}:{}", free_port());
        all.push(format!("--listen={address}"));
        let node = Self {
            name: name.to_owned(),
            address,
            way,
            directory,
            options: all,
            server: Mutex::new(None),
        };
        node.serve();
        node
    }

    /// Starts the process, and returns when it accepts connections.
    pub(crate) fn serve(&self) {
        let log = File::options().create(true).append(true).open(self.log());
        let mut server = self
            .command("serve")
            .args(&self.options)
            .arg("--failed-tokens-per-minute=1000000000")
            .stdout(Stdio::piped())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(server.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert!(
            line.starts_with("listening on "),
            "{}: {line:?} {}",
            self.name,
            fs::read_to_string(self.log()).unwrap()
        );
        *self.server() = Some(server);
    }

    /// Runs a command beside the server, and reads its JSON.
    pub(crate) fn run(&self, arguments: &[&str]) -> Value {
        let done = self.command(arguments[0]).args(&arguments[1..]).output();
        let done = done.unwrap();
        assert!(
            done.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// Prepares a process that sees no variable of the machine's own `wst`.
    fn command(&self, command: &str) -> Command {
        let program = env!("CARGO_BIN_EXE_wst");
        let mut wst = match &self.way {
            Way::Packets(namespace) => namespace.command(program),
            Way::Proxy(_) => Command::new(program),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WST_") {
                wst.env_remove(name);
            }
        }
        wst.arg(command)
            .arg("--data-dir")
            .arg(self.data_dir())
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        wst
    }

    /// Runs an action over the control socket, as commands do.
    pub(crate) fn act(&self, path: &str, arguments: &Value) -> std::io::Result<(u16, Value)> {
        Control::connect(&self.data_dir())?.act(path, arguments)
    }

    pub(crate) fn agent(&self, workspace: &str, token: &str) -> Agent {
        Agent::new(&self.address, workspace, token)
    }

    /// Returns what stands between a node and the database, unless that is a namespace.
    pub(crate) fn proxy(&self) -> &Proxy {
        match &self.way {
            Way::Proxy(proxy) => proxy,
            Way::Packets(_) => panic!("{} has no proxy", self.name),
        }
    }

    /// Returns the namespace of a node that has one.
    pub(crate) fn namespace(&self) -> &Namespace {
        match &self.way {
            Way::Packets(namespace) => namespace,
            Way::Proxy(_) => panic!("{} has no namespace", self.name),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(server) = &*self.server() {
            kill_process(Pid::from_child(server), signal).unwrap();
        }
    }

    /// Kills it in the midst of whatever it does.
    pub(crate) fn kill(&self) {
        if let Some(mut server) = self.server().take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(&self) {
        let mut server = self.server().take().unwrap();
        kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
        assert!(server.wait().unwrap().success());
    }

    fn server(&self) -> MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn key_file(&self) -> PathBuf {
        self.data_dir().join("workspaces.keys")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Way::Proxy(proxy) = &self.way {
            proxy.set(Network::Cut);
        }
        self.kill();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            eprintln!("--- {}\n{log}", self.name);
        }
    }
}
