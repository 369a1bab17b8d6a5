//! A database per test, and rows to write.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use tokio::task::JoinHandle;
use tower_workspace_token::{
    clock::{Clock, SystemClock, Timestamp},
    id::{Generation, Revision, SlotKey},
    store::{HistoryEvent, HistoryEventKind, StoreError, TokenRecord, TokenStore},
    token::SealedToken,
};
use tower_workspace_token_postgres::{
    Options, PostgresStore,
    tokio_postgres::{Client, Config, NoTls},
};

/// A database that goes with the value.
pub(crate) struct Database {
    name: String,
}

impl Database {
    /// Makes a database, or says why there is none.
    pub(crate) async fn new() -> Option<Self> {
        Self::with("").await
    }

    /// Makes a database with more words for `CREATE DATABASE`.
    pub(crate) async fn with(options: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let now = SystemClock.now().as_millis();
        let name = format!("wst_test_{process}_{now}_{number}");
        let admin = match admin().await {
            Ok(admin) => admin,
            Err(why) => {
                println!("skipped: no PostgreSQL server: {why}");
                return None;
            }
        };
        let create = format!("CREATE DATABASE {name} {options}");
        admin.batch_execute(&create).await.unwrap();
        Some(Self { name })
    }

    pub(crate) fn url(&self) -> String {
        let server = server();
        let (path, query) = server.split_once('?').unwrap_or((&server, ""));
        let (server, _) = path.rsplit_once('/').unwrap();
        format!("{server}/{}?{query}", self.name)
    }

    /// The address with a schema of its own, new each time: faster than a database.
    pub(crate) async fn url_of_new_schema(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let schema = format!("s{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.execute(&format!("CREATE SCHEMA {schema}")).await;
        let separator = if self.url().ends_with('?') { "" } else { "&" };
        format!(
            "{}{separator}options=-c%20search_path%3D{schema}",
            self.url()
        )
    }

    pub(crate) fn options(&self) -> Options {
        // Many tests run at once, on a server with a hundred connections.
        Options::new(self.url()).with_pool_size(4)
    }

    pub(crate) async fn store(&self) -> PostgresStore {
        self.options().connect().await.unwrap()
    }

    /// Opens a store whose connections bear a name.
    pub(crate) async fn named(&self, name: &str) -> PostgresStore {
        let separator = if self.url().ends_with('?') { "" } else { "&" };
        let url = format!("{}{separator}application_name={name}", self.url());
        Options::new(url).with_pool_size(4).connect().await.unwrap()
    }

    /// Cuts off all connections of the store of that name.
    pub(crate) async fn cut_off(&self, name: &str) {
        let named = format!("application_name = '{name}' AND datname = current_database()");
        self.execute(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {named}"
        ))
        .await;
    }

    /// A connection of the test's own, as a superuser.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url()).await.unwrap().0
    }

    pub(crate) async fn execute(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap();
    }

    /// Returns the one number that a query gives.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let row = self.client().await.query_one(sql, &[]).await.unwrap();
        row.get(0)
    }
}

/// Drops the database in a thread of its own, as a test may fail anywhere.
impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                if let Ok(admin) = admin().await {
                    let _left_behind = admin.batch_execute(&drop).await;
                }
            });
        });
        let _left_behind = dropping.join();
    }
}

/// Makes a database, or ends the test with a word.
macro_rules! database {
    () => {
        match crate::support::Database::new().await {
            Some(database) => database,
            None => return,
        }
    };
}
pub(crate) use database;

async fn admin() -> Result<Client, tower_workspace_token_postgres::tokio_postgres::Error> {
    Ok(connect(&server()).await?.0)
}

pub(crate) async fn connect(
    url: &str,
) -> Result<(Client, JoinHandle<()>), tower_workspace_token_postgres::tokio_postgres::Error> {
    let (client, connection) = url.parse::<Config>()?.connect(NoTls).await?;
    let driver = tokio::spawn(async move {
        let _ended = connection.await;
    });
    Ok((client, driver))
}

fn server() -> String {
    static SERVER: OnceLock<String> = OnceLock::new();
    let find = || {
        let named = std::env::var("WST_TEST_POSTGRES_URL");
        named.unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned())
    };
    SERVER.get_or_init(find).clone()
}

pub(crate) fn slot(name: &str) -> SlotKey {
    SlotKey::new("acme".parse().unwrap(), name.parse().unwrap())
}

pub(crate) fn generation(number: u64) -> Generation {
    Generation::from_number(number).unwrap()
}

/// Makes the row of a slot that was only ever rotated: its revision is its generation.
pub(crate) fn row(key: SlotKey, number: u64) -> TokenRecord {
    TokenRecord::live(
        key,
        Revision::from_number(number).unwrap(),
        generation(number),
        "mzxw6ytbmzxw6ytb".parse().unwrap(),
        SealedToken::from_bytes(vec![b's'; 350]),
        Timestamp::from_secs(number),
    )
}

/// Writes generation `number` of `key`, with its event.
pub(crate) async fn rotate_to(
    store: &impl TokenStore,
    key: SlotKey,
    number: u64,
) -> Result<(), StoreError> {
    let next = row(key, number);
    let event = HistoryEvent::new(
        HistoryEventKind::Rotated,
        next.generation,
        next.token_id,
        next.changed_at,
    );
    let expected = Revision::from_number(number - 1);
    store
        .compare_and_swap(&key, expected, next, Some(event))
        .await
}

/// Waits for a condition that nothing reports.
pub(crate) async fn until(condition: impl AsyncFn() -> bool) {
    for _ in 0..2000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the condition did not come true");
}
