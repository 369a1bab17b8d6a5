//! A database for one run, and what it weighs.

use std::{
    fs::{self, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Context as _;
use tempfile::TempDir;
use tower_workspace_token_postgres::tokio_postgres::{self, Client, NoTls};
use tower_workspace_token_sqlite::rusqlite;

use crate::place::{Kind, Place};

/// The database, and the directory of its keys; [`remove`](Self::remove) it.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) place: Place,
    _directory: TempDir,
    /// URL of the server, and the name of the database there.
    on_server: Option<(String, String)>,
}

impl Scratch {
    pub(crate) async fn make(kind: Kind, url: &str) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("wst-scale-").tempdir()?;
        for ring in ["signing", "sealing"] {
            write_key(&directory.path().join(ring))?;
        }
        let (database, on_server) = match kind {
            Kind::Sqlite => {
                let path = directory.path().join("tokens.db");
                (path.to_str().context("a path in UTF-8")?.to_owned(), None)
            }
            Kind::Postgres => {
                let random = directory.path().file_name().context("a name")?;
                let name: String = random
                    .to_string_lossy()
                    .chars()
                    .map(|c| {
                        if c == '-' {
                            '_'
                        } else {
                            c.to_ascii_lowercase()
                        }
                    })
                    .collect();
                let sql = format!("CREATE DATABASE {name}");
                connect(url).await?.batch_execute(&sql).await?;
                (at(url, None, Some(&name))?, Some((url.to_owned(), name)))
            }
        };
        Ok(Self {
            place: Place {
                kind,
                database,
                keys: directory.path().to_owned(),
            },
            _directory: directory,
            on_server,
        })
    }

    /// Runs `work` on a new database, and drops it, whatever comes of it.
    pub(crate) async fn with<T>(
        kind: Kind,
        url: &str,
        work: impl AsyncFnOnce(&Place) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let scratch = Self::make(kind, url).await?;
        let done = work(&scratch.place).await;
        scratch.remove().await?;
        done
    }

    async fn remove(self) -> anyhow::Result<()> {
        if let Some((url, name)) = &self.on_server {
            let sql = format!("DROP DATABASE {name} WITH (FORCE)");
            connect(url).await?.batch_execute(&sql).await?;
        }
        Ok(())
    }
}

fn write_key(path: &Path) -> anyhow::Result<()> {
    let mut key = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(&key)?)
}

/// Returns `url` with another port of this machine, or another database.
pub(crate) fn at(url: &str, port: Option<u16>, database: Option<&str>) -> anyhow::Result<String> {
    let config: tokio_postgres::Config = url.parse()?;
    let (host, old_port) = server(&config)?;
    let user = config.get_user().unwrap_or("postgres");
    let password = config.get_password().map(String::from_utf8_lossy);
    let password = password.map_or(String::new(), |password| format!(":{password}"));
    let host = if port.is_some() { "127.0.0.1" } else { &host };
    let port = port.unwrap_or(old_port);
    let database = database.or(config.get_dbname()).unwrap_or("postgres");
    Ok(format!(
        "postgres://{user}{password}@{host}:{port}/{database}?sslmode=disable"
    ))
}

/// Returns host and port.
pub(crate) fn server(config: &tokio_postgres::Config) -> anyhow::Result<(String, u16)> {
    let host = match config.get_hosts().first() {
        Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
        _ => anyhow::bail!("the URL has to name a host"),
    };
    Ok((host, config.get_ports().first().copied().unwrap_or(5432)))
}

pub(crate) async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Brings the database to where it is after a while, and returns its size in bytes: rows, indexes, history.
pub(crate) async fn settle(place: &Place) -> anyhow::Result<u64> {
    match place.kind {
        Kind::Sqlite => {
            let connection = rusqlite::Connection::open(&place.database)?;
            connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
            let size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
            let size: i64 = connection.query_row(size, [], |row| row.get(0))?;
            Ok(size as u64)
        }
        Kind::Postgres => {
            let client = connect(&place.database).await?;
            client.batch_execute("VACUUM (ANALYZE) wst_slots").await?;
            client.batch_execute("VACUUM (ANALYZE) wst_history").await?;
            client.batch_execute("CHECKPOINT").await?;
            let size = "SELECT pg_total_relation_size('wst_slots') + pg_total_relation_size('wst_history')";
            Ok(client.query_one(size, &[]).await?.get::<_, i64>(0) as u64)
        }
    }
}
