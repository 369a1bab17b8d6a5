//! [`Scratch`]: a database for one test, of either kind, which several servers of the test may use.
//!
//! `WST_TEST_POSTGRES_URL` says where PostgreSQL is; without it the usual place of this machine is tried, and
//! if nobody is there, the test says so and goes on without.

use std::{env, thread};

use tempfile::TempDir;
use tower_workspace_token_postgres::{
    deadpool_postgres::{Manager, Pool},
    tokio_postgres::{self, Config, NoTls, config::Host},
};
use tower_workspace_token_sqlite::SqliteStore;

use super::{Database, DatabasePlace, ids};

/// A database that is there until this is dropped.
pub(crate) struct Scratch {
    kind: Kind,
}

enum Kind {
    Postgres { server: Box<Config>, name: String },
    Sqlite(TempDir),
}

impl Scratch {
    pub(crate) fn sqlite() -> Self {
        Self {
            kind: Kind::Sqlite(tempfile::tempdir().unwrap()),
        }
    }

    /// Makes one in PostgreSQL, if there is one.
    pub(crate) async fn postgres() -> Option<Self> {
        let given = env::var("WST_TEST_POSTGRES_URL").ok();
        let url = given.as_deref().unwrap_or(USUAL);
        let server: Box<Config> = Box::new(url.parse().unwrap());
        let name = format!("wst_test_{}", ids::random_id().unwrap());
        match execute(&server, &format!("CREATE DATABASE {name}")).await {
            Ok(()) => Some(Self {
                kind: Kind::Postgres { server, name },
            }),
            Err(error) if given.is_none() => {
                println!("skipped: no PostgreSQL at {USUAL}: {error}");
                None
            }
            Err(error) => panic!("cannot use PostgreSQL at WST_TEST_POSTGRES_URL: {error}"),
        }
    }

    /// Returns where it is, for a server that opens it by itself.
    pub(crate) fn place(&self) -> DatabasePlace {
        match &self.kind {
            Kind::Postgres { server, name } => {
                let Some(Host::Tcp(host)) = server.get_hosts().first() else {
                    panic!("the server of the tests is reached by TCP");
                };
                let user = server.get_user().unwrap_or("postgres");
                let port = server.get_ports().first().copied().unwrap_or(5432);
                DatabasePlace::Postgres(format!("postgres://{user}@{host}:{port}/{name}").into())
            }
            Kind::Sqlite(_) => DatabasePlace::Sqlite,
        }
    }

    /// Opens it as another server would.
    pub(crate) async fn connect(&self) -> Database {
        match &self.kind {
            Kind::Postgres { server, name } => {
                let mut database = Config::clone(server);
                database.dbname(name);
                let pool = Pool::builder(Manager::new(database, NoTls)).max_size(4);
                Database::open_postgres(pool.build().unwrap())
                    .await
                    .unwrap()
            }
            Kind::Sqlite(directory) => {
                let store = SqliteStore::open(directory.path().join("test.db")).unwrap();
                Database::open(&store).unwrap()
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Kind::Postgres { server, name } = &self.kind else {
            return;
        };
        let (server, drop) = (server.clone(), format!("DROP DATABASE {name} WITH (FORCE)"));
        // On a thread of its own: a runtime does not wait within another.
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(execute(&server, &drop))
        });
        if !matches!(dropping.join(), Ok(Ok(()))) {
            println!("a database of the tests stays behind");
        }
    }
}

async fn execute(server: &Config, sql: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = server.connect(NoTls).await?;
    let driving = tokio::spawn(connection);
    let done = client.batch_execute(sql).await;
    driving.abort();
    done
}

const USUAL: &str = "postgres://postgres@127.0.0.1:5432/postgres";
