//! Where the rows are, and a store on them, as a child process is told.

use std::path::PathBuf;

use anyhow::Context as _;
use tower_workspace_token::{
    Keys, TokenAuthority, TokenName, TokenStore, WorkspaceId, id::SlotKey, store::TokenRecord,
};
use tower_workspace_token_postgres::{Options as PostgresOptions, PostgresStore};
use tower_workspace_token_sqlite::{Options as SqliteOptions, SqliteStore};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    Sqlite,
}

/// A database and the keys of its tokens.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    /// A path or a URL.
    pub(crate) database: String,
    pub(crate) keys: PathBuf,
}

/// Either store.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Postgres(PostgresStore),
    Sqlite(SqliteStore),
}

impl Place {
    /// For the command line of a child.
    pub(crate) fn to_word(&self) -> String {
        format!("{}\n{}", self.keys.display(), self.database)
    }

    pub(crate) fn from_word(word: &str) -> anyhow::Result<Self> {
        let (keys, database) = word.split_once('\n').context("a place has two lines")?;
        Ok(Self {
            kind: match database.starts_with("postgres") {
                true => Kind::Postgres,
                false => Kind::Sqlite,
            },
            database: database.to_owned(),
            keys: keys.into(),
        })
    }

    pub(crate) fn keys(&self) -> anyhow::Result<Keys> {
        Ok(Keys::read_dir(&self.keys)?)
    }

    pub(crate) async fn open(&self) -> anyhow::Result<Store> {
        Ok(match self.kind {
            Kind::Postgres => Store::Postgres(
                PostgresOptions::new(self.database.as_str())
                    .with_pool_size(CONNECTIONS)
                    .connect()
                    .await?,
            ),
            // As the server opens it.
            Kind::Sqlite => Store::Sqlite(SqliteOptions::new(&self.database).exclusive().open()?),
        })
    }
}

impl Store {
    pub(crate) fn authority(&self, keys: Keys) -> anyhow::Result<TokenAuthority> {
        let builder = match self {
            Self::Postgres(store) => TokenAuthority::builder(store.clone(), keys),
            Self::Sqlite(store) => TokenAuthority::builder(store.clone(), keys),
        };
        Ok(builder.build()?)
    }

    pub(crate) async fn get(&self, number: usize) -> anyhow::Result<TokenRecord> {
        let key = SlotKey::new(workspace(number), TokenName::primary());
        let found = match self {
            Self::Postgres(store) => TokenStore::get(store, &key).await?,
            Self::Sqlite(store) => TokenStore::get(store, &key).await?,
        };
        found.context("the row is not there")
    }
}

/// Returns the id of workspace `number`: as long as the server's, and in an order of its own, as those are.
pub(crate) fn workspace(number: usize) -> WorkspaceId {
    // An odd multiplier is a permutation of 48 bits; ten digits of base 36 hold them.
    let mut rest = (number as u64).wrapping_mul(0x9e37_79b9_7f4b) & 0xffff_ffff_ffff;
    let mut id = [b'w'; 11];
    for digit in id[1..].iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
        rest /= 36;
    }
    String::from_utf8_lossy(&id)
        .parse()
        .expect("eleven letters and digits")
}

/// As many as the server has.
const CONNECTIONS: usize = 16;
