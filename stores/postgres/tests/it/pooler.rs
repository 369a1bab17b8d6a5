//! PgBouncer in between, where it is installed: which of its modes is noticed.

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
};

use tower_workspace_token::{
    clock::{Clock, SystemClock},
    store::conformance::Watcher,
};
use tower_workspace_token_postgres::{OpenErrorKind, Options, PostgresStore};

use crate::{
    cluster::{Cluster, unprivileged},
    support::{connect, generation, rotate_to, slot, until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_lends_sessions_is_refused() {
    let Some(cluster) = Cluster::start(&[]) else {
        return;
    };
    cluster.answers().await;
    for (mode, sessions, round_robin) in [
        ("transaction", 1, 0),
        ("transaction", 8, 0),
        ("transaction", 8, 1),
        ("statement", 8, 0),
    ] {
        let Some(pooler) = Pooler::start(&cluster, mode, sessions, round_robin) else {
            return;
        };
        until(async || connect(&pooler.url).await.is_ok()).await;
        if round_robin == 1 {
            pooler.fill().await;
        }
        let refused = PostgresStore::connect(pooler.url.clone()).await;
        let refused = refused.expect_err(mode);
        // In the other mode, there is no transaction of several statements at all.
        if mode == "transaction" {
            assert_eq!(refused.kind(), OpenErrorKind::Pooler, "{sessions}");
            assert!(refused.to_string().contains("pool_mode = session"));
        }
        let (client, _driver) = connect(&cluster.url()).await.unwrap();
        let tables = "SELECT FROM pg_class WHERE starts_with(relname, 'wst_')";
        assert!(client.query(tables, &[]).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_session_mode_is_as_good_as_the_server() {
    let Some(cluster) = Cluster::start(&[]) else {
        return;
    };
    cluster.answers().await;
    let Some(pooler) = Pooler::start(&cluster, "session", 20, 0) else {
        return;
    };
    until(async || connect(&pooler.url).await.is_ok()).await;
    let open = || Options::new(pooler.url.clone()).with_pool_size(4).connect();
    let (one, other) = (open().await.unwrap(), open().await.unwrap());
    let watcher = Watcher::of(&other);
    assert!(watcher.is_confirmed_after(SystemClock.moment()).await);
    for number in 1..=10 {
        let mark = watcher.mark();
        rotate_to(&one, slot("primary"), number).await.unwrap();
        let key = slot("primary");
        assert!(watcher.is_told(mark, key, generation(number)).await);
    }
}

/// A PgBouncer before a cluster.
struct Pooler {
    process: Child,
    url: String,
}

impl Pooler {
    /// Starts one; `None`, with a word, where it is not installed.
    fn start(cluster: &Cluster, mode: &str, sessions: usize, round_robin: u8) -> Option<Self> {
        let program = Path::new("/usr/sbin/pgbouncer");
        if !program.is_file() {
            println!("skipped: no {}", program.display());
            return None;
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let users = cluster.directory.join("pooler-users");
        fs::write(&users, "\"postgres\" \"hunter2\"\n").unwrap();
        let settings = cluster.directory.join(format!("pooler-{port}.ini"));
        let content = format!(
            "[databases]
             * = host=127.0.0.1 port={}
             [pgbouncer]
             listen_addr = 127.0.0.1
             listen_port = {port}
             unix_socket_dir =
             auth_type = trust
             auth_file = {}
             pool_mode = {mode}
             default_pool_size = {sessions}
             server_round_robin = {round_robin}",
            cluster.port,
            users.display()
        );
        let lines: Vec<&str> = content.lines().map(str::trim).collect();
        fs::write(&settings, lines.join("\n")).unwrap();
        let mut pooler = unprivileged(program);
        pooler
            .arg(&settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Some(Self {
            process: pooler.spawn().unwrap(),
            url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        })
    }

    /// Has it open several sessions, so that there is another one each time.
    async fn fill(&self) {
        let mut open = Vec::new();
        for _ in 0..4 {
            let (client, _driver) = connect(&self.url).await.unwrap();
            client.batch_execute("BEGIN").await.unwrap();
            open.push(client);
        }
        for client in &open {
            client.batch_execute("ROLLBACK").await.unwrap();
        }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}
