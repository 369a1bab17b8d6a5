//! The application's own tables in the same file.

use rusqlite::TransactionBehavior;
use tower_workspace_token::{
    id::{Generation, KeyId, Revision},
    store::{TokenRecord, TokenStore},
    token::SealedToken,
};
use tower_workspace_token_sqlite::{SqliteStore, rusqlite, slot_generation};

use crate::support::{Directory, generation, rotate_to, row, slot};

#[tokio::test]
async fn a_transaction_sees_the_generation_of_a_slot() {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.database()).unwrap();
    let mut connection = store.connection().unwrap();
    let mut seen = || {
        let transaction = connection.transaction().unwrap();
        let slot = slot_generation(&transaction, &slot("primary")).unwrap();
        slot.map(|slot| (slot.generation.number(), slot.is_live))
    };
    assert_eq!(seen(), None);
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    assert_eq!(seen(), Some((1, true)));
    rotate_to(&store, slot("primary"), 2).await.unwrap();
    assert_eq!(seen(), Some((2, true)));

    let last = row(slot("primary"), 3);
    let revoked = TokenRecord::tombstone(
        last.key,
        last.revision,
        last.generation,
        last.token_id,
        last.changed_at,
    );
    store
        .compare_and_swap(&last.key, Revision::from_number(2), revoked, None)
        .await
        .unwrap();
    assert_eq!(seen(), Some((3, false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_rotation_comes_between_the_check_and_the_write_of_a_transaction() {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.database()).unwrap();
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    let mut connection = store.connection().unwrap();
    connection
        .execute_batch("CREATE TABLE notes (text TEXT) STRICT; PRAGMA user_version = 7")
        .unwrap();

    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    let before = slot_generation(&transaction, &slot("primary")).unwrap();
    assert_eq!(before.unwrap().generation, Generation::FIRST);
    let rotating = {
        let store = store.clone();
        tokio::spawn(async move { rotate_to(&store, slot("primary"), 2).await })
    };
    transaction
        .execute("INSERT INTO notes VALUES ('in time')", [])
        .unwrap();
    assert_eq!(generation(&store, slot("primary")).await, 1);
    transaction.commit().unwrap();
    rotating.await.unwrap().unwrap();
    assert_eq!(generation(&store, slot("primary")).await, 2);

    // The application's version and tables are nothing to the store.
    drop((store, connection));
    SqliteStore::open(directory.database()).unwrap();
}

#[tokio::test]
async fn finds_the_slots_that_a_key_has_sealed() {
    let directory = Directory::new();
    let store = SqliteStore::open(directory.database()).unwrap();
    let [old, new]: [KeyId; 2] = ["aaaaaaaa", "bbbbbbbb"].map(|key| key.parse().unwrap());
    for (name, key) in [("b", &old), ("a", &old), ("c", &new)] {
        let mut sealed = row(slot(name), 1);
        sealed.sealed = Some(envelope(key));
        store
            .compare_and_swap(&slot(name), None, sealed, None)
            .await
            .unwrap();
    }
    rotate_to(&store, slot("sealed-otherwise"), 1)
        .await
        .unwrap();
    let of_old = store.slots_sealed_with(&old).await.unwrap();
    assert_eq!(of_old, [slot("a"), slot("b")]);

    let mut rewrapped = row(slot("a"), 2);
    rewrapped.generation = Generation::FIRST;
    rewrapped.sealed = Some(envelope(&new));
    store
        .compare_and_swap(&slot("a"), Some(Revision::FIRST), rewrapped, None)
        .await
        .unwrap();
    assert_eq!(store.slots_sealed_with(&old).await.unwrap(), [slot("b")]);
}

/// The shape of an envelope: version, algorithm, key id, profile, and what only a cipher reads.
fn envelope(key: &KeyId) -> SealedToken {
    let mut bytes = vec![1, 1];
    bytes.extend_from_slice(key.as_str().as_bytes());
    bytes.push(1);
    bytes.resize(100, 0);
    SealedToken::from_bytes(bytes)
}
