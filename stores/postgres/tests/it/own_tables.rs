//! The application's own tables in the same database, and what is read and brought in as a whole.

use std::time::Duration;

use tower_workspace_token::{
    id::{KeyId, Revision},
    store::{HistoryEvent, HistoryEventKind, StoreError, StoreErrorKind, TokenRecord, TokenStore},
    token::SealedToken,
};
use tower_workspace_token_postgres::slot_generation;

use crate::support::{database, generation, rotate_to, row, slot};

#[tokio::test]
async fn a_transaction_sees_the_generation_of_a_slot() {
    let database = database!();
    let store = database.store().await;
    let seen = async || {
        let mut client = store.pool().get().await.unwrap();
        let transaction = client.transaction().await.unwrap();
        let slot = slot_generation(&transaction, &slot("primary")).await;
        slot.unwrap()
            .map(|slot| (slot.generation.number(), slot.is_live))
    };
    assert_eq!(seen().await, None);
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    assert_eq!(seen().await, Some((1, true)));
    rotate_to(&store, slot("primary"), 2).await.unwrap();
    assert_eq!(seen().await, Some((2, true)));

    let last = row(slot("primary"), 3);
    let (key, revision) = (last.key, last.revision);
    let revoked = TokenRecord::tombstone(
        key,
        revision,
        last.generation,
        last.token_id,
        last.changed_at,
    );
    store
        .compare_and_swap(&key, Revision::from_number(2), revoked, None)
        .await
        .unwrap();
    assert_eq!(seen().await, Some((3, false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_rotation_comes_between_the_check_and_the_write_of_a_transaction() {
    let database = database!();
    let store = database.store().await;
    rotate_to(&store, slot("primary"), 1).await.unwrap();
    database.execute("CREATE TABLE notes (text text)").await;
    let mut client = store.pool().get().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let before = slot_generation(&transaction, &slot("primary")).await;
    assert_eq!(before.unwrap().unwrap().generation, generation(1));

    let rotating = {
        let store = store.clone();
        tokio::spawn(async move { rotate_to(&store, slot("primary"), 2).await })
    };
    transaction
        .execute("INSERT INTO notes VALUES ('in time')", &[])
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        !rotating.is_finished(),
        "the rotation overtook the transaction"
    );
    // Uses are noted all the same, and nobody waits for that.
    let now = row(slot("primary"), 9).changed_at;
    store.touch(&[(slot("primary"), now)]).await.unwrap();
    transaction.commit().await.unwrap();
    rotating.await.unwrap().unwrap();
    assert_eq!(database.number("SELECT count(*) FROM notes").await, 1);
}

#[tokio::test]
async fn finds_the_slots_that_a_key_has_sealed_and_shows_all() {
    let database = database!();
    let store = database.store().await;
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
    let live = store.live_slots().await.unwrap();
    let keys: Vec<_> = live.iter().map(|slot| slot.sealed_with).collect();
    assert_eq!(keys, [Some(old), Some(old), Some(new), None]);

    let mut shown = Vec::new();
    let all = store.for_each_slot(|slot| {
        shown.push((slot.key, slot.generation.number()));
        Ok::<_, StoreError>(())
    });
    all.await.unwrap();
    shown.sort_unstable();
    let expected = ["a", "b", "c", "sealed-otherwise"].map(|name| (slot(name), 1));
    assert_eq!(shown, expected);
    let refused = store
        .for_each_slot(|_| Err(StoreError::new(StoreErrorKind::Locked)))
        .await;
    assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Locked);
}

#[tokio::test]
async fn rows_are_brought_in_as_they_are_once() {
    let database = database!();
    let store = database.store().await;
    let rows: Vec<_> = (1..=1000).map(brought).collect();
    let imported = store.import(&rows).await.unwrap();
    assert_eq!((imported.inserted, imported.skipped), (1000, 0));
    for (record, history) in [&rows[0], &rows[999]] {
        assert_eq!(store.get(&record.key).await.unwrap().as_ref(), Some(record));
        assert_eq!(&store.history(&record.key).await.unwrap(), history);
    }
    let again = store.import(&rows[..10]).await.unwrap();
    assert_eq!((again.inserted, again.skipped), (0, 10));
    // What is written later comes after what was brought in.
    let key = rows[4].0.key;
    let next = rows[4].0.revision.number() + 1;
    rotate_to(&store, key, next).await.unwrap();
    let history = store.history(&key).await.unwrap();
    assert_eq!(history.last().unwrap().generation, generation(next));
    assert_eq!(history.len(), rows[4].1.len() + 1);

    // One that differs, and nothing of the others.
    let mixed = [brought(2000), rows[4].clone()];
    let refused = store.import(&mixed).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Conflict);
    assert_eq!(store.get(&mixed[0].0.key).await.unwrap(), None);
    let doubled = [brought(2000), brought(2000)];
    let refused = store.import(&doubled).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Conflict);
}

/// A slot with a history that is longer than its revision says, as one has that was brought in before.
fn brought(number: u64) -> (TokenRecord, Vec<HistoryEvent>) {
    let mut record = row(slot(&format!("slot-{number}")), number % 5 + 1);
    record.last_used_at = Some(record.changed_at);
    if number.is_multiple_of(3) {
        record.sealed = None;
    }
    let kinds = [HistoryEventKind::Issued, HistoryEventKind::Rotated];
    let events = (0..number % 7).map(|event| {
        let (kind, at) = (kinds[usize::from(event > 0)], record.changed_at);
        let mut event = HistoryEvent::new(kind, generation(event + 1), record.token_id, at);
        event.actor = Some(format!("actor {number}"));
        event
    });
    let events = events.collect();
    (record, events)
}

/// The shape of an envelope: version, algorithm, key id, profile, and what only a cipher reads.
fn envelope(key: &KeyId) -> SealedToken {
    let mut bytes = vec![1, 1];
    bytes.extend_from_slice(key.as_str().as_bytes());
    bytes.push(1);
    bytes.resize(100, 0);
    SealedToken::from_bytes(bytes)
}
