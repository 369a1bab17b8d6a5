//! Restoring: no generation falls, and no token comes back.

use std::path::Path;

use tower_workspace_token::{
    clock::Timestamp,
    id::{Generation, SlotKey},
    store::{HistoryEventKind, TokenRecord, TokenStore},
};
use tower_workspace_token_sqlite::{MergedSlots, Provenance, SqliteStore, merge_slots};

use crate::support::{Directory, generation, rotate_to, row, slot};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

async fn rotate_up_to(store: &SqliteStore, key: SlotKey, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        rotate_to(store, key, number).await.unwrap();
    }
}

/// Makes a database with slots at the given generations.
async fn database(slots: &[(&str, u64)]) -> Directory {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.database()).unwrap();
    for (name, reached) in slots {
        rotate_up_to(&store, slot(name), 1..=*reached).await;
    }
    directory
}

fn merge(
    backup: &Directory,
    current: Option<&Path>,
    survives: impl FnMut(&SlotKey, Generation, Provenance) -> bool,
) -> (SqliteStore, MergedSlots) {
    let store = SqliteStore::open(backup.database()).unwrap();
    let mut connection = store.connection().unwrap();
    let merged = merge_slots(&mut connection, current, NOW, survives).unwrap();
    (store, merged)
}

fn vouched_for(_: &SlotKey, _: Generation, provenance: Provenance) -> bool {
    provenance == Provenance::CurrentDatabase
}

async fn get(store: &SqliteStore, name: &str) -> TokenRecord {
    store.get(&slot(name)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_newer_row_of_the_current_database_stands() {
    let backup = database(&[("primary", 2), ("same", 3)]).await;
    let current = database(&[("primary", 5), ("same", 3), ("later", 1)]).await;
    let (store, merged) = merge(&backup, Some(&current.database()), vouched_for);
    assert_eq!((merged.carried_over, merged.live), (2, 3));
    assert_eq!((merged.live_of_backup, merged.revoked), (0, 0));
    for (name, reached) in [("primary", 5), ("same", 3), ("later", 1)] {
        assert_eq!(generation(&store, slot(name)).await, reached, "{name}");
        assert!(get(&store, name).await.is_live(), "{name}");
    }
}

#[tokio::test]
async fn a_tombstone_of_the_current_database_stands() {
    let backup = database(&[("primary", 2)]).await;
    let current = database(&[("primary", 2)]).await;
    let store = SqliteStore::open(current.database()).unwrap();
    let live = row(slot("primary"), 3);
    let tombstone = TokenRecord::tombstone(
        live.key,
        live.revision,
        live.generation,
        live.token_id,
        live.changed_at,
    );
    let expected = Some(row(slot("primary"), 2).revision);
    store
        .compare_and_swap(&live.key, expected, tombstone, None)
        .await
        .unwrap();
    drop(store);
    let (store, merged) = merge(&backup, Some(&current.database()), |_, _, _| true);
    assert_eq!((merged.carried_over, merged.live), (1, 0));
    assert!(!get(&store, "primary").await.is_live());
}

#[tokio::test]
async fn a_row_of_the_backup_stands_where_it_is_newer() {
    let backup = database(&[("primary", 4)]).await;
    let current = database(&[("primary", 2)]).await;
    let (store, merged) = merge(&backup, Some(&current.database()), vouched_for);
    assert_eq!((merged.carried_over, merged.live_of_backup), (0, 1));
    assert_eq!(generation(&store, slot("primary")).await, 4);
}

/// Both went on from the same backup: of two tokens of one generation, the current one is valid.
#[tokio::test]
async fn of_two_tokens_of_one_generation_the_current_one_stands() {
    let backup = database(&[("primary", 2)]).await;
    let current = database(&[("primary", 1)]).await;
    let store = SqliteStore::open(current.database()).unwrap();
    let mut other = row(slot("primary"), 2);
    other.token_id = "aaaaaaaaaaaaaaaa".parse().unwrap();
    let expected = Some(row(slot("primary"), 1).revision);
    store
        .compare_and_swap(&other.key, expected, other.clone(), None)
        .await
        .unwrap();
    drop(store);
    let (store, _) = merge(&backup, Some(&current.database()), |_, _, _| true);
    assert_eq!(get(&store, "primary").await.token_id, other.token_id);
}

#[tokio::test]
async fn a_token_that_the_backup_alone_knows_is_revoked_unless_it_is_vouched_for() {
    for current in [None, Some(database(&[("another", 1)]).await)] {
        let path = current.as_ref().map(Directory::database);
        let backup = database(&[("primary", 2), ("spare", 1)]).await;
        let (store, merged) = merge(&backup, path.as_deref(), vouched_for);
        assert_eq!(merged.revoked, 2);
        let tombstone = get(&store, "primary").await;
        assert!(!tombstone.is_live());
        assert_eq!(tombstone.generation, Generation::from_number(3).unwrap());
        assert_eq!(tombstone.changed_at, NOW);
        let events = store.history(&slot("primary")).await.unwrap();
        assert_eq!(events.last().unwrap().kind, HistoryEventKind::Revoked);

        let backup = database(&[("primary", 2), ("spare", 1)]).await;
        let (store, merged) = merge(&backup, path.as_deref(), |_, _, _| true);
        assert_eq!((merged.revoked, merged.live_of_backup), (0, 2));
        assert!(get(&store, "primary").await.is_live());
    }
}

#[tokio::test]
async fn the_current_database_is_not_written_to() {
    let backup = database(&[("primary", 1)]).await;
    let current = database(&[("primary", 3)]).await;
    let before = std::fs::read(current.database()).unwrap();
    merge(&backup, Some(&current.database()), vouched_for);
    assert_eq!(std::fs::read(current.database()).unwrap(), before);
}

/// Snapshots of a database that goes on: whichever is restored, no generation falls.
#[tokio::test]
async fn no_snapshot_brings_an_older_generation_back() {
    let current = Directory::new();
    let store = SqliteStore::open(current.database()).unwrap();
    let snapshots = Directory::new();
    let names = ["a", "b", "c"];
    for round in 1..=20_u64 {
        for (index, name) in names.iter().enumerate() {
            if round % (index as u64 + 1) == 0 {
                let number = round / (index as u64 + 1);
                rotate_to(&store, slot(name), number).await.unwrap();
            }
        }
        let path = snapshots.path().join(format!("{round}.db"));
        let connection = store.connection().unwrap();
        let path = path.to_str().unwrap();
        connection.execute("VACUUM INTO ?1", [path]).unwrap();
    }
    drop(store);
    for round in 1..=20 {
        let store = SqliteStore::open(snapshots.path().join(format!("{round}.db"))).unwrap();
        let mut connection = store.connection().unwrap();
        let path = current.database();
        merge_slots(&mut connection, Some(&path), NOW, vouched_for).unwrap();
        for (index, name) in names.iter().enumerate() {
            let reached = 20 / (index as u64 + 1);
            assert_eq!(
                generation(&store, slot(name)).await,
                reached,
                "{round} {name}"
            );
        }
    }
}

#[tokio::test]
async fn tells_the_live_slots_and_their_keys() {
    let directory = database(&[("primary", 1)]).await;
    let store = SqliteStore::open(directory.database()).unwrap();
    let live = store.live_slots().await.unwrap();
    assert_eq!(live.len(), 1);
    // What the tests seal is no envelope.
    assert_eq!((live[0].key, live[0].sealed_with), (slot("primary"), None));
}
