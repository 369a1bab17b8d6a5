//! Where the database is, and how it is opened.

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use tower_workspace_token_postgres::{
    OpenErrorKind, Options as PostgresOptions, PostgresStore,
    tokio_postgres::{self, config::Host},
};
use tower_workspace_token_sqlite::Options as SqliteOptions;

use super::{Database, DatabaseError, Store, meta};
use crate::{data_dir::DataDir, error::AppError, key_check};

/// The database that a server is told to use.
#[derive(Clone, Debug, Default)]
pub(crate) enum DatabasePlace {
    /// The one of this URL, which may hold a password.
    Postgres(SecretString),
    /// A file in the data directory.
    #[default]
    Sqlite,
}

/// A database that is about to be opened, of which it is known whether it is new.
///
/// Two steps, since the keys come between: those of a database that has tokens have to be there before anything
/// is done with it, and a new one is made only where there are none.
#[derive(Debug)]
pub(crate) struct Opening {
    found: Found,
    is_new: bool,
}

#[derive(Debug)]
enum Found {
    /// Boxed, since it is many times as large as the other.
    Postgres(Box<(Store, Database)>),
    Sqlite(std::path::PathBuf),
}

impl DatabasePlace {
    /// Reads what an option says.
    pub(crate) fn read(text: SecretString) -> Result<Self, AppError> {
        match text.expose_secret() {
            "sqlite" => Ok(Self::Sqlite),
            url if ["postgres://", "postgresql://"]
                .iter()
                .any(|scheme| url.starts_with(scheme)) =>
            {
                Ok(Self::Postgres(text))
            }
            _ => Err(AppError::usage(
                "the database is `sqlite` or postgres://USER:PASSWORD@HOST:PORT/DATABASE",
            )),
        }
    }

    /// Returns the kind in a word, without the address.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    /// Returns the name of a database of a server: its address without a password.
    pub(crate) fn name(&self) -> Option<String> {
        let Self::Postgres(url) = self else {
            return None;
        };
        let config: tokio_postgres::Config = url.expose_secret().parse().ok()?;
        let host = config.get_hosts().first().map(|host| match host {
            Host::Tcp(host) => host.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let user = config.get_user().unwrap_or("");
        Some(format!(
            "postgres://{user}@{}:{port}/{}",
            host.unwrap_or_default(),
            config.get_dbname().unwrap_or(user)
        ))
    }

    /// Returns whether `text` is the URL of a PostgreSQL database with a password in it.
    pub(crate) fn holds_password(text: &SecretString) -> bool {
        let config = text.expose_secret().parse::<tokio_postgres::Config>();
        config.is_ok_and(|config| config.get_password().is_some())
    }

    /// Looks for the database; PostgreSQL's is connected to, and its tables are brought up to date.
    pub(crate) async fn find(&self, data_dir: &DataDir) -> anyhow::Result<Opening> {
        match self {
            Self::Sqlite => Ok(Opening {
                found: Found::Sqlite(data_dir.database()),
                is_new: !data_dir.has_database(),
            }),
            Self::Postgres(url) => {
                let (store, database) = connect(url).await?;
                refuse_half_moved(&database).await?;
                let needed = database.read(key_check::required).await?;
                Ok(Opening {
                    found: Found::Postgres(Box::new((Store::Postgres(store), database))),
                    is_new: needed.is_empty(),
                })
            }
        }
    }
}

/// Stops whoever would use a database into which a data directory is still being moved.
async fn refuse_half_moved(database: &Database) -> anyhow::Result<()> {
    let is_half_moved = database.read(|snapshot| {
        let is_begun = meta::get(snapshot, meta::MOVED_FROM)?.is_some();
        Ok::<_, DatabaseError>(is_begun && meta::get(snapshot, meta::MOVED_AT)?.is_none())
    });
    match is_half_moved.await? {
        true => bail!(
            "a data directory is being moved into this PostgreSQL database, and not all of it is there: run `wst migrate` again, which goes on where it was; or, to give that up, drop the database and make it again"
        ),
        false => Ok(()),
    }
}

/// Connects to a PostgreSQL database, and brings all tables in it up to date.
pub(crate) async fn connect(url: &SecretString) -> anyhow::Result<(PostgresStore, Database)> {
    let opened = PostgresOptions::new(url.clone())
        .with_pool_size(CONNECTIONS)
        .connect()
        .await;
    let store = opened.map_err(|error| {
        let hint = match error.kind() {
            OpenErrorKind::InvalidAddress => "; a password with `/`, `@`, `:` or `%` in it is written with `%` and two hexadecimal digits for each",
            _ => "",
        };
        anyhow::Error::from(error).context(format!("cannot use the PostgreSQL database{hint}"))
    })?;
    let database = Database::open_postgres(store.pool().clone()).await?;
    Ok((store, database))
}

impl Opening {
    /// Whether no keys were ever used with it.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Opens it.
    pub(crate) fn finish(self) -> anyhow::Result<(Store, Database)> {
        match self.found {
            Found::Postgres(opened) => Ok(*opened),
            Found::Sqlite(path) => {
                // Exclusive: the lock of the data directory says that there is nobody else.
                let store = SqliteOptions::new(&path)
                    .exclusive()
                    .open()
                    .with_context(|| format!("cannot use the database {}", path.display()))?;
                let database = Database::open(&store)?;
                Ok((Store::Sqlite(store), database))
            }
        }
    }
}

/// How many connections a node has at most, beside two on which it hears of others. PostgreSQL allows a hundred by
/// default.
const CONNECTIONS: usize = 16;
