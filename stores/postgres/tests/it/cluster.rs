//! What it takes a server of one's own to see: one that crashes, that asks for passwords, that forgets, that has a standby.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tower_workspace_token::{
    clock::{Clock, SystemClock},
    store::{StoreErrorKind, TokenStore, conformance::Watcher},
};
use tower_workspace_token_postgres::{
    OpenErrorKind, Options, PostgresStore, tokio_postgres::Client,
};

use crate::support::{connect, generation, rotate_to, slot, until};

/// A server of the test's own, in a directory that goes with it.
pub(crate) struct Cluster {
    pub(crate) directory: PathBuf,
    data: PathBuf,
    pub(crate) port: u16,
    server: Option<Child>,
}

impl Cluster {
    /// Makes a cluster and starts it with `settings`; `None`, with a word, where PostgreSQL is not installed.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wst-pg-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let data = directory.join("data");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut cluster = Self {
            directory,
            data,
            port,
            server: None,
        };
        if !binary("initdb").is_file() {
            println!("skipped: no {}", binary("initdb").display());
            return None;
        }
        fs::create_dir_all(&cluster.directory).unwrap();
        fs::write(cluster.directory.join("password"), "hunter2").unwrap();
        if is_root() {
            let mut chown = Command::new("chown");
            chown.args(["-R", "postgres"]).arg(&cluster.directory);
            assert!(chown.status().unwrap().success());
        }
        let mut initdb = cluster.command("initdb");
        initdb.args([
            "-U",
            "postgres",
            "--auth=scram-sha-256",
            "-E",
            "UTF8",
            "--no-sync",
        ]);
        initdb
            .arg("--pwfile")
            .arg(cluster.directory.join("password"));
        initdb.arg("-D").arg(&cluster.data);
        assert!(initdb.status().unwrap().success());
        cluster.run(settings);
        Some(cluster)
    }

    /// A program of PostgreSQL, run by a user whom it accepts.
    fn command(&self, program: &str) -> Command {
        let mut command = unprivileged(&binary(program));
        command.current_dir(&self.directory);
        command.env("PGPASSWORD", "hunter2");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run(&mut self, settings: &[&str]) {
        let mut server = self.command("postgres");
        server.arg("-D").arg(&self.data);
        server.args([
            "-p",
            &self.port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
        ]);
        server.arg("-c");
        server.arg(format!(
            "unix_socket_directories={}",
            self.directory.display()
        ));
        for setting in settings {
            server.args(["-c", setting]);
        }
        self.server = Some(server.spawn().unwrap());
    }

    /// Kills all of it, as a machine that fails does to the processes.
    fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        let children = Command::new("pkill")
            .args(["-KILL", "-P", &server.id().to_string()])
            .status();
        server.kill().unwrap();
        server.wait().unwrap();
        assert!(children.is_ok());
    }

    /// Puts a file into the data directory as the server wants it.
    fn hand_over(&self, name: &str, content: &str) {
        let path = self.data.join(name);
        fs::write(&path, content).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&path, mode).unwrap();
        if is_root() {
            let mut chown = Command::new("chown");
            assert!(chown.arg("postgres").arg(&path).status().unwrap().success());
        }
    }

    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://postgres:hunter2@127.0.0.1:{}/postgres",
            self.port
        )
    }

    pub(crate) async fn answers(&self) {
        until(async || connect(&self.url()).await.is_ok()).await;
    }

    /// Has commits wait for a standby that never comes; returns when they do, which takes the server a moment to learn.
    async fn wait_for_a_standby(&self, admin: &Client) {
        let names = "ALTER SYSTEM SET synchronous_standby_names = 'nobody'";
        admin.batch_execute(names).await.unwrap();
        let reload = "SELECT pg_reload_conf()";
        admin.batch_execute(reload).await.unwrap();
        let waits =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        until(async || {
            let (probe, _driver) = connect(&self.url()).await.unwrap();
            let commit = probe.batch_execute("CREATE TABLE probe (a int); DROP TABLE probe");
            let _waits = tokio::time::timeout(Duration::from_millis(100), commit).await;
            !admin.query(waits, &[]).await.unwrap().is_empty()
        })
        .await;
        let waiting = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        until(async || admin.query(waiting, &[]).await.unwrap().is_empty()).await;
    }

    async fn execute(&self, sql: &str) {
        let (client, _driver) = connect(&self.url()).await.unwrap();
        client.batch_execute(sql).await.unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let interrupt = ["-INT", &server.id().to_string()];
            let _fast = Command::new("kill").args(interrupt).status();
            let _ended = server.wait();
        }
        let _left_behind = fs::remove_dir_all(&self.directory);
    }
}

/// A program that refuses to be run by root.
pub(crate) fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    command.arg(program);
    command
}

fn binary(program: &str) -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut folders: Vec<PathBuf> = installed.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let newest = folders
        .pop()
        .unwrap_or_else(|| Path::new("/usr/lib/postgresql/none").into());
    newest.join("bin").join(program)
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_no_rotation_and_nothing_is_confirmed_meanwhile() {
    let Some(mut cluster) = Cluster::start(&[]) else {
        return;
    };
    cluster.answers().await;
    let url = cluster.url();
    let open = || Options::new(url.clone()).with_timeout(Duration::from_secs(2));
    let (one, other) = (
        open().connect().await.unwrap(),
        open().connect().await.unwrap(),
    );
    let watcher = Watcher::of(&other);
    let mut reached = 0;
    for _ in 0..3 {
        assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
        let writing = {
            let one = one.clone();
            tokio::spawn(async move {
                let mut number = reached;
                while rotate_to(&one, slot("primary"), number + 1).await.is_ok() {
                    number += 1;
                }
                number
            })
        };
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.kill();
        let acknowledged = writing.await.unwrap();
        assert!(acknowledged > reached, "some were written");
        assert!(
            other.get(&slot("primary")).await.is_err(),
            "not: probably fine"
        );
        let confirmed = watcher.latest_confirmed();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(watcher.latest_confirmed(), confirmed);

        let mark = watcher.mark();
        cluster.run(&[]);
        cluster.answers().await;
        assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
        assert!(watcher.was_told(mark, slot("primary"), generation(acknowledged)));
        let row = other.get(&slot("primary")).await.unwrap().unwrap();
        reached = row.generation.number();
        // The one under way may have been written too.
        assert!((acknowledged..=acknowledged + 1).contains(&reached));
        let history = one.history(&slot("primary")).await.unwrap();
        assert_eq!(history.len() as u64, reached, "one event per generation");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_waits_for_a_standby_and_is_cut_off_is_ambiguous() {
    let Some(cluster) = Cluster::start(&[]) else {
        return;
    };
    cluster.answers().await;
    let store = PostgresStore::connect(cluster.url()).await.unwrap();
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    let (admin, _driver) = connect(&cluster.url()).await.unwrap();
    admin
        .batch_execute("SET synchronous_commit = local")
        .await
        .unwrap();
    let reload = "SELECT pg_reload_conf()";
    cluster.wait_for_a_standby(&admin).await;
    let writing = {
        let store = store.clone();
        tokio::spawn(async move { rotate_to(&store, slot("primary"), 2).await })
    };
    let waits =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    until(async || !admin.query(waits, &[]).await.unwrap().is_empty()).await;
    let error = writing.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Ambiguous);
    let wait_no_longer = "ALTER SYSTEM RESET synchronous_standby_names";
    admin.batch_execute(wait_no_longer).await.unwrap();
    admin.batch_execute(reload).await.unwrap();
    let row = store.get(&slot("primary")).await.unwrap().unwrap();
    assert_eq!(row.generation, generation(2), "it was written");
}

/// The lock of notifications is taken by a commit, when `statement_timeout` no longer counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_waits_too_long_to_notify_is_given_up_by_the_server_and_was_not_written() {
    let Some(cluster) = Cluster::start(&[]) else {
        return;
    };
    cluster.answers().await;
    // The server gives up a fifth of it before the client does: time enough for it to say so.
    let options = Options::new(cluster.url()).with_timeout(Duration::from_secs(8));
    let store = options.connect().await.unwrap();
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    cluster.execute("CREATE TABLE theirs (a int)").await;
    let (admin, _driver) = connect(&cluster.url()).await.unwrap();
    admin
        .batch_execute("SET synchronous_commit = local")
        .await
        .unwrap();
    cluster.wait_for_a_standby(&admin).await;
    // It has the lock, and waits for a standby that never comes.
    let url = cluster.url();
    let committing = tokio::spawn(async move {
        let (theirs, _driver) = connect(&url).await.unwrap();
        let commit = "BEGIN; INSERT INTO theirs VALUES (1); NOTIFY theirs; COMMIT";
        theirs.batch_execute(commit).await
    });
    let waits = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    until(async || admin.query(waits, &[]).await.unwrap().len() == 1).await;
    let error = rotate_to(&store, slot("primary"), 2).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    let wait_no_longer = "ALTER SYSTEM RESET synchronous_standby_names";
    admin.batch_execute(wait_no_longer).await.unwrap();
    let reload = "SELECT pg_reload_conf()";
    admin.batch_execute(reload).await.unwrap();
    committing.await.unwrap().unwrap();
    let row = store.get(&slot("primary")).await.unwrap().unwrap();
    assert_eq!(row.generation, generation(1), "nothing was written");
}

/// So that whoever wants to wait for less does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_of_locks_that_was_set_is_kept() {
    let Some(cluster) = Cluster::start(&["lock_timeout=321ms"]) else {
        return;
    };
    cluster.answers().await;
    let store = PostgresStore::connect(cluster.url()).await.unwrap();
    let client = store.pool().get().await.unwrap();
    let row = client.query_one("SHOW lock_timeout", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "321ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_encryption_and_standbys_are_told_apart() {
    let Some(cluster) = Cluster::start(&["wal_level=replica"]) else {
        return;
    };
    cluster.answers().await;
    let url = cluster.url();
    drop(PostgresStore::connect(url.clone()).await.unwrap());
    let refused = async |url: String| {
        let error = PostgresStore::connect(url).await.unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"));
        error.kind()
    };
    let wrong = url.replace(":hunter2@", ":hunter2hunter2@");
    assert_eq!(refused(wrong).await, OpenErrorKind::Authentication);
    let none = url.replace(":hunter2@", "@");
    assert_eq!(refused(none).await, OpenErrorKind::Authentication);
    let encrypted = format!("{url}?sslmode=require");
    assert_eq!(refused(encrypted).await, OpenErrorKind::Tls);

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut standby = Cluster {
        directory: cluster.directory.join("standby"),
        data: cluster.directory.join("standby/data"),
        port: free.local_addr().unwrap().port(),
        server: None,
    };
    drop(free);
    let mut copy = cluster.command("pg_basebackup");
    copy.args([
        "-h",
        "127.0.0.1",
        "-U",
        "postgres",
        "-R",
        "-c",
        "fast",
        "--no-sync",
    ]);
    copy.args(["-p", &cluster.port.to_string()]);
    copy.arg("-D").arg(&standby.data);
    assert!(copy.status().unwrap().success());
    standby.run(&[]);
    standby.answers().await;
    assert_eq!(refused(standby.url()).await, OpenErrorKind::Standby);
    // Of several, the one that takes writes is found.
    let hosts = |ports: [u16; 2]| {
        let [first, second] = ports.map(|port| format!("127.0.0.1:{port}"));
        format!("postgres://postgres:hunter2@{first},{second}/postgres")
    };
    let both = hosts([standby.port, cluster.port]);
    let store = PostgresStore::connect(both).await.unwrap();
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    let none = hosts([standby.port, standby.port]);
    assert_eq!(refused(none).await, OpenErrorKind::Standby);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_verified_with_its_host() {
    let Some(mut cluster) = Cluster::start(&[]) else {
        return;
    };
    cluster.answers().await;
    let authority = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new([]).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(parameters, authority).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, &authority).unwrap();
    cluster.kill();
    cluster.hand_over("server.crt", &certificate.pem());
    cluster.hand_over("server.key", &key.serialize_pem());
    cluster.run(&["ssl=on"]);
    cluster.answers().await;

    let by_name = cluster.url().replace("127.0.0.1", "localhost");
    for mode in ["require", "verify-full"] {
        let url = format!("{by_name}?sslmode={mode}");
        let options = Options::new(url.clone()).with_root_certificates(authority.pem());
        let store = options.connect().await.unwrap();
        let client = store.pool().get().await.unwrap();
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let is_encrypted: bool = client.query_one(sql, &[]).await.unwrap().get(0);
        assert!(is_encrypted);
        let watcher = Watcher::of(&store);
        assert!(watcher.is_confirmed_after(SystemClock.moment()).await);

        // The operating system's authorities did not sign it, and another host is not this one.
        let by_number = url.replace("localhost", "127.0.0.1");
        for options in [
            Options::new(url),
            Options::new(by_number).with_root_certificates(authority.pem()),
        ] {
            let refused = options.connect().await.unwrap_err();
            assert_eq!(refused.kind(), OpenErrorKind::Tls, "{refused:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_is_refused() {
    let Some(cluster) = Cluster::start(&["fsync=off"]) else {
        return;
    };
    cluster.answers().await;
    let refused = PostgresStore::connect(cluster.url()).await.unwrap_err();
    assert_eq!(refused.kind(), OpenErrorKind::NotDurable);
    let options = Options::new(cluster.url()).with_insecure_forgetful_server();
    let store = options.connect().await.unwrap();
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    cluster.execute("SELECT FROM wst_slots").await;
}
