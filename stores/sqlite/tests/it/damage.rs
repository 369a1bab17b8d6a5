//! Files that are damaged: refused, and left as they are for whoever repairs them.

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    path::Path,
};

use tower_workspace_token::store::{StoreErrorKind, TokenStore};
use tower_workspace_token_sqlite::{OpenErrorKind, SqliteStore};

use crate::support::{Directory, rotate_to, slot};

/// Does something to the file at a path.
type Damage = fn(&Path);

#[tokio::test]
async fn a_damaged_database_is_refused_and_left_as_it_is() {
    let cut_off = |path: &Path| {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    let overwrite_slots = |path: &Path| {
        let page = root_page_of_slots(path);
        let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.seek(SeekFrom::Start((page - 1) * 4096)).unwrap();
        file.write_all(&[0xa5; 4096]).unwrap();
    };
    let lose_table = |path: &Path| {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.execute_batch("DROP TABLE wst_meta").unwrap();
    };
    let cases: [(&str, Damage); 3] = [
        ("cut off", cut_off),
        ("a page overwritten", overwrite_slots),
        ("a table lost", lose_table),
    ];
    for (name, damage) in cases {
        let directory = Directory::new();
        fill(&directory).await;
        damage(&directory.database());
        let before = fs::read(directory.database()).unwrap();
        let error = SqliteStore::open(directory.database()).unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::Corrupt, "{name}: {error:?}");
        assert!(fs::read(directory.database()).unwrap() == before, "{name}");
    }
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_corrupt_and_its_neighbours_are_not() {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.database()).unwrap();
    for name in ["bad", "good"] {
        rotate_to(&store, slot(name), 1).await.unwrap();
    }
    let connection = store.connection().unwrap();
    connection
        .execute_batch("UPDATE wst_slots SET token_id = 'NOT*A*TOKEN*ID*!' WHERE name = 'bad'")
        .unwrap();
    let error = store.get(&slot("bad")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    let error = store.list(&slot("bad").workspace).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert!(store.get(&slot("good")).await.unwrap().is_some());
}

async fn fill(directory: &Directory) {
    let store = SqliteStore::open(directory.database()).unwrap();
    for number in 0..200 {
        rotate_to(&store, slot(&format!("slot-{number}")), 1)
            .await
            .unwrap();
    }
}

fn root_page_of_slots(path: &Path) -> u64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'wst_slots'";
    let page: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
    page as u64
}
