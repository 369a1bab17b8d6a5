//! Databases for tests: SQLite files, or, if `WST_TEST_DATABASE_URL` names a PostgreSQL database, a schema of
//! it for each. So everything that is tested on one is tested on the other; see `tests/postgres/run`.

use std::path::Path;

use secrecy::SecretString;
use tower_workspace_token_postgres::tokio_postgres::{self, NoTls};

use super::{Database, DatabasePlace, Store, ids::random_id};
use crate::data_dir::DataDir;

/// Returns where a test has its database.
pub(crate) async fn place() -> DatabasePlace {
    match std::env::var("WST_TEST_DATABASE_URL") {
        Ok(url) => DatabasePlace::Postgres(new_schema(&url).await),
        Err(_) => DatabasePlace::Sqlite,
    }
}

/// Opens a database that nobody else knows, in `directory` if it is a file.
pub(crate) async fn open(directory: &Path) -> (Store, Database) {
    open_at(place().await, directory).await
}

/// The same in a file, whichever database the tests run on: for what is about SQLite.
pub(crate) async fn open_file(directory: &Path) -> (Store, Database) {
    open_at(DatabasePlace::Sqlite, directory).await
}

async fn open_at(place: DatabasePlace, directory: &Path) -> (Store, Database) {
    let data_dir = DataDir::open_or_create(&directory.join("data")).unwrap();
    let found = place.find(&data_dir).await;
    found.unwrap().finish().unwrap()
}

async fn new_schema(url: &str) -> SecretString {
    let schema = format!("test_{}", random_id().unwrap());
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let driven = tokio::spawn(connection);
    let create = format!("CREATE SCHEMA {schema}");
    client.batch_execute(&create).await.unwrap();
    drop(client);
    driven.await.unwrap().unwrap();
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options=-c%20search_path%3D{schema}").into()
}
