//! [`Cluster`]: a PostgreSQL server of the test's own, in a directory that goes with it.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower_workspace_token_postgres::tokio_postgres::{Client, NoTls, Row};

use crate::{namespace::Namespace, until};

pub(crate) struct Cluster {
    directory: TempDir,
    addresses: Vec<Ipv4Addr>,
    port: u16,
    server: Option<Child>,
}

/// A connection for one statement after the other, from an ordinary thread.
pub(crate) struct Admin {
    runtime: Runtime,
    client: Client,
}

impl Cluster {
    /// Makes a cluster and starts it; `None`, with a word, where PostgreSQL is not installed.
    ///
    /// It listens on loopback, and on the address of `beyond` if there is one, for all that is reached by it.
    pub(crate) fn start(beyond: Option<&Namespace>) -> Option<Self> {
        let Some(initdb) = program("initdb") else {
            println!("skipped: there is no initdb of PostgreSQL in /usr/lib/postgresql");
            return None;
        };
        let directory = tempfile::Builder::new()
            .prefix("wst-nodes-")
            .tempdir()
            .unwrap();
        if is_root() {
            let mut chown = Command::new("chown");
            assert!(
                chown
                    .arg("postgres")
                    .arg(directory.path())
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let mut addresses = vec![Ipv4Addr::LOCALHOST];
        addresses.extend(beyond.map(Namespace::of_test));
        let mut cluster = Self {
            directory,
            addresses,
            port: free_port(),
            server: None,
        };
        let mut initdb = cluster.command(initdb);
        initdb.args(["-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync"]);
        initdb.arg("-D").arg(cluster.data());
        assert!(initdb.status().unwrap().success());
        if let Some(namespace) = beyond {
            let hosts = cluster.data().join("pg_hba.conf");
            let mut hosts = File::options().append(true).open(hosts).unwrap();
            writeln!(hosts, "host all all {}/32 trust", namespace.of_node()).unwrap();
        }
        cluster.run();
        Some(cluster)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Starts the server, and returns when it answers.
    pub(crate) fn run(&mut self) {
        let mut server = self.command(program("postgres").unwrap());
        server.arg("-D").arg(self.data());
        let sockets = format!(
            "unix_socket_directories={}",
            self.directory.path().display()
        );
        let port = self.port.to_string();
        let addresses: Vec<String> = self.addresses.iter().map(Ipv4Addr::to_string).collect();
        let addresses = format!("listen_addresses={}", addresses.join(","));
        server.args(["-p", &port, "-c", &addresses, "-c"]);
        server.args([&sockets, "-c", "max_connections=200"]);
        self.server = Some(server.spawn().unwrap());
        until("the database answers", Duration::from_secs(30), || {
            Admin::connect(self.port).is_some()
        });
    }

    /// Stops the server as `pg_ctl stop -m fast` does, or as a machine does that fails.
    pub(crate) fn stop(&mut self, kindly: bool) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        // What SIGQUIT ends has written nothing down, and leaves no process or memory of its own behind.
        let signal = if kindly { Signal::INT } else { Signal::QUIT };
        kill_process(Pid::from_child(&server), signal).unwrap();
        server.wait().unwrap();
    }

    pub(crate) fn admin(&self) -> Admin {
        Admin::connect(self.port).unwrap()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A program of PostgreSQL, run by a user whom it accepts.
    fn command(&self, program: PathBuf) -> Command {
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.directory.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop(true);
    }
}

impl Admin {
    /// Connects, if the server answers.
    pub(crate) fn connect(port: u16) -> Option<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?connect_timeout=5");
        let client = runtime.block_on(async {
            let config: tower_workspace_token_postgres::tokio_postgres::Config =
                url.parse().unwrap();
            let (client, connection) = config.connect(NoTls).await.ok()?;
            tokio::spawn(connection);
            Some(client)
        })?;
        Some(Self { runtime, client })
    }

    /// Runs a statement whose one parameter, if it has any, is a text.
    pub(crate) fn query(&self, sql: &str, parameter: Option<&str>) -> Option<Vec<Row>> {
        self.runtime.block_on(async {
            match parameter {
                None => self.client.query(sql, &[]).await.ok(),
                Some(text) => self.client.query(sql, &[&text]).await.ok(),
            }
        })
    }

    /// Ends connections of a node: the one that listens, or all.
    pub(crate) fn cut(&self, node: &str, only_the_feed: bool) -> usize {
        let sql = if only_the_feed { CUT_FEED } else { CUT_ALL };
        self.query(sql, Some(node)).unwrap().len()
    }

    /// Returns the generation that was committed last in any slot of `workspace`.
    pub(crate) fn generation(&self, workspace: &str) -> Option<i64> {
        let rows = self.query(GENERATION, Some(workspace))?;
        rows[0].try_get(0).ok()
    }
}

const CUT_ALL: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";

// By the statements that the feed alone sends.
const CUT_FEED: &str = "
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = $1 AND (query LIKE '%now.snapshot%' OR query LIKE '%beat%' OR query LIKE 'LISTEN %')";

const GENERATION: &str = "SELECT max(generation) FROM wst_slots WHERE workspace = $1";

/// Returns the newest version of a program of PostgreSQL.
fn program(name: &str) -> Option<PathBuf> {
    let installed = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut programs: Vec<PathBuf> = installed
        .flatten()
        .map(|version| version.path().join("bin").join(name))
        .filter(|program| program.is_file())
        .collect();
    programs.sort();
    programs.pop()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns a port that nobody listens on, as of now.
pub(crate) fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}
