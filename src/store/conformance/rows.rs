//! What each call does to one slot, without anybody else about.

use super::*;

pub(super) async fn run<S: TokenStore, F: Future<Output = S>>(make: &impl Fn() -> F) {
    prove! { make:
        get_of_nothing_is_none
        a_write_is_read_back_whole
        create_never_overwrites
        compare_and_swap_needs_the_exact_revision
        a_conflict_writes_neither_row_nor_event
        events_are_recorded_with_their_rows_oldest_first
        an_event_belongs_to_its_own_slot
        get_and_list_return_tombstones
        a_slot_is_issued_again_over_its_tombstone
        list_is_of_one_workspace_and_ordered_by_name
        touch_raises_no_revision
        touch_moves_only_forward
        touch_ignores_unknown_slots
        touch_does_not_disturb_a_swap
        a_rewrap_keeps_the_history_and_the_last_use
        a_new_generation_starts_unused
    }
}

async fn get_of_nothing_is_none<S: TokenStore>(store: Arc<S>) {
    assert_eq!(get(&*store, slot("primary")).await, None);
    assert!(list(&*store, "acme").await.is_empty());
    assert!(history(&*store, slot("primary")).await.is_empty());

    rotate_up_to(&*store, slot("primary"), 1).await;
    for neighbour in [slot("primary-2"), slot("p"), slot_of("acme-2", "primary")] {
        assert_eq!(get(&*store, neighbour).await, None, "{neighbour:?}");
        assert!(history(&*store, neighbour).await.is_empty());
    }
}

async fn a_write_is_read_back_whole<S: TokenStore>(store: Arc<S>) {
    let key = slot("primary");
    let mut written = row(key, 1);
    written.last_used_at = Some(at(7));
    store
        .compare_and_swap(&key, None, written.clone(), None)
        .await
        .expect("the first write of a slot succeeds");
    assert_eq!(get(&*store, key).await, Some(written.clone()));
    assert_eq!(list(&*store, "acme").await, [written]);
}

async fn create_never_overwrites<S: TokenStore>(store: Arc<S>) {
    let key = slot("primary");
    rotate_up_to(&*store, key, 1).await;
    let mut other = row(key, 1);
    other.token_id = token_id(99);
    let result = store.compare_and_swap(&key, None, other, None).await;
    assert_conflict(result, "to create a row that is there");
    assert_eq!(get(&*store, key).await, Some(row(key, 1)));

    revoke_to(&*store, key, 2).await;
    let result = store.compare_and_swap(&key, None, row(key, 1), None).await;
    assert_conflict(result, "to create a row over a tombstone");
    assert_eq!(get(&*store, key).await, Some(tombstone(key, 2)));
}

async fn compare_and_swap_needs_the_exact_revision<S: TokenStore>(store: Arc<S>) {
    let key = slot("primary");
    let result = store
        .compare_and_swap(&key, Some(revision(1)), row(key, 2), None)
        .await;
    assert_conflict(result, "to replace a row that is not there");
    assert_eq!(get(&*store, key).await, None);

    rotate_up_to(&*store, key, 3).await;
    for wrong in [1, 2, 4, 5, i64::MAX as u64 - 1] {
        let result = store
            .compare_and_swap(&key, Some(revision(wrong)), row(key, wrong + 1), None)
            .await;
        assert_conflict(result, "to replace another revision than the current one");
        assert_eq!(get(&*store, key).await, Some(row(key, 3)), "after {wrong}");
    }
    rotate_to(&*store, key, 4)
        .await
        .expect("to replace the current revision succeeds");
}

async fn a_conflict_writes_neither_row_nor_event<S: TokenStore>(store: Arc<S>) {
    let (key, absent) = (slot("primary"), slot("absent"));
    rotate_up_to(&*store, key, 2).await;
    let before = history(&*store, key).await;

    assert_conflict(rotate_to(&*store, key, 1).await, "to issue it again");
    assert_conflict(rotate_to(&*store, key, 2).await, "to rotate it again");
    assert_conflict(rotate_to(&*store, absent, 2).await, "to rotate nothing");

    assert_eq!(get(&*store, key).await, Some(row(key, 2)));
    assert_eq!(history(&*store, key).await, before);
    assert_eq!(get(&*store, absent).await, None);
    assert!(history(&*store, absent).await.is_empty());
}

async fn events_are_recorded_with_their_rows_oldest_first<S: TokenStore>(store: Arc<S>) {
    let key = slot("primary");
    let mut expected = Vec::new();
    for number in 1..=12 {
        rotate_up_to_one(&*store, key, number, &mut expected).await;
        assert_eq!(history(&*store, key).await, expected);
    }
    revoke_to(&*store, key, 13).await;
    expected.push(event(HistoryEventKind::Revoked, 13));
    assert_eq!(history(&*store, key).await, expected);
}

async fn rotate_up_to_one<S: TokenStore>(
    store: &S,
    key: SlotKey,
    number: u64,
    expected: &mut Vec<HistoryEvent>,
) {
    rotate_to(store, key, number)
        .await
        .expect("a write with the right revision succeeds");
    let kind = match number {
        1 => HistoryEventKind::Issued,
        _ => HistoryEventKind::Rotated,
    };
    expected.push(event(kind, number));
}

async fn an_event_belongs_to_its_own_slot<S: TokenStore>(store: Arc<S>) {
    let (here, there, elsewhere) = (slot("a"), slot("b"), slot_of("acme-2", "a"));
    rotate_up_to(&*store, here, 3).await;
    rotate_up_to(&*store, there, 1).await;
    rotate_up_to(&*store, elsewhere, 2).await;
    for (key, events) in [(here, 3), (there, 1), (elsewhere, 2)] {
        assert_eq!(history(&*store, key).await.len(), events, "{key:?}");
    }
}

async fn get_and_list_return_tombstones<S: TokenStore>(store: Arc<S>) {
    let key = slot("primary");
    rotate_up_to(&*store, key, 1).await;
    revoke_to(&*store, key, 2).await;
    assert_eq!(get(&*store, key).await, Some(tombstone(key, 2)));
    assert_eq!(list(&*store, "acme").await, [tombstone(key, 2)]);
}

async fn a_slot_is_issued_again_over_its_tombstone<S: TokenStore>(store: Arc<S>) {
    let key = slot("primary");
    rotate_up_to(&*store, key, 1).await;
    revoke_to(&*store, key, 2).await;
    let issued = event(HistoryEventKind::Issued, 3);
    store
        .compare_and_swap(&key, Some(revision(2)), row(key, 3), Some(issued.clone()))
        .await
        .expect("a tombstone can be replaced by the next generation");
    assert_eq!(get(&*store, key).await, Some(row(key, 3)));
    assert_eq!(history(&*store, key).await.last(), Some(&issued));
    assert_eq!(history(&*store, key).await.len(), 3);
}

async fn list_is_of_one_workspace_and_ordered_by_name<S: TokenStore>(store: Arc<S>) {
    // The order of bytes: a collation that skips hyphens or knows numbers has another one.
    let ordered = [
        "-", "--", "-a", "10", "9", "a", "a-b", "a-c", "a0", "ab", "b",
    ];
    for name in ordered.iter().rev() {
        rotate_up_to(&*store, slot(name), 1).await;
    }
    for neighbour in ["acm", "acme-", "acme0", "-acme"] {
        rotate_up_to(&*store, slot_of(neighbour, "a"), 1).await;
    }
    revoke_to(&*store, slot("a-b"), 2).await;

    let listed = list(&*store, "acme").await;
    let names: Vec<_> = listed.iter().map(|row| row.key.name.as_str()).collect();
    assert_eq!(names, ordered);
    assert!(
        listed
            .iter()
            .all(|row| row.key.workspace.as_str() == "acme")
    );
}

async fn a_rewrap_keeps_the_history_and_the_last_use<S: TokenStore>(store: Arc<S>) {
    let key = slot("primary");
    rotate_up_to(&*store, key, 2).await;
    touch(&*store, &[(key, at(50))]).await;
    let events = history(&*store, key).await;

    let mut rewrapped = get(&*store, key).await.expect("the row was written");
    rewrapped.revision = revision(3);
    rewrapped.sealed = Some(sealed(1000));
    store
        .compare_and_swap(&key, Some(revision(2)), rewrapped.clone(), None)
        .await
        .expect("a rewrap with the right revision succeeds");

    assert_eq!(rewrapped.last_used_at, Some(at(50)));
    assert_eq!(get(&*store, key).await, Some(rewrapped));
    assert_eq!(history(&*store, key).await, events);
}

async fn a_new_generation_starts_unused<S: TokenStore>(store: Arc<S>) {
    let key = slot("primary");
    rotate_up_to(&*store, key, 1).await;
    touch(&*store, &[(key, at(50))]).await;
    rotate_to(&*store, key, 2)
        .await
        .expect("a write with the right revision succeeds");
    assert_eq!(get(&*store, key).await, Some(row(key, 2)));
}

async fn touch_raises_no_revision<S: TokenStore>(store: Arc<S>) {
    let (key, neighbour) = (slot("primary"), slot("neighbour"));
    rotate_up_to(&*store, key, 1).await;
    rotate_up_to(&*store, neighbour, 1).await;
    let events = history(&*store, key).await;
    touch(&*store, &[(key, at(50))]).await;

    let mut expected = row(key, 1);
    expected.last_used_at = Some(at(50));
    assert_eq!(get(&*store, key).await, Some(expected));
    assert_eq!(get(&*store, neighbour).await, Some(row(neighbour, 1)));
    assert_eq!(history(&*store, key).await, events);
}

async fn touch_moves_only_forward<S: TokenStore>(store: Arc<S>) {
    let (a, b) = (slot("a"), slot("b"));
    rotate_up_to(&*store, a, 1).await;
    rotate_up_to(&*store, b, 1).await;
    touch(&*store, &[(a, at(50)), (b, at(10)), (a, at(40))]).await;
    touch(&*store, &[(a, at(30)), (b, at(20))]).await;
    touch(&*store, &[]).await;
    for (key, latest) in [(a, at(50)), (b, at(20))] {
        let row = get(&*store, key).await.expect("the row was written");
        assert_eq!(row.last_used_at, Some(latest), "{key:?}");
    }
}

async fn touch_ignores_unknown_slots<S: TokenStore>(store: Arc<S>) {
    let (known, unknown) = (slot("known"), slot("unknown"));
    rotate_up_to(&*store, known, 1).await;
    touch(&*store, &[(unknown, at(50)), (known, at(60))]).await;
    assert_eq!(get(&*store, unknown).await, None);
    assert_eq!(list(&*store, "acme").await.len(), 1);
    let row = get(&*store, known).await.expect("the row was written");
    assert_eq!(row.last_used_at, Some(at(60)));
}

async fn touch_does_not_disturb_a_swap<S: TokenStore>(store: Arc<S>) {
    let key = slot("primary");
    rotate_up_to(&*store, key, 1).await;
    // Between the read of a rotation and its write.
    touch(&*store, &[(key, at(50))]).await;
    rotate_to(&*store, key, 2)
        .await
        .expect("a slot that was touched has the same revision");
}

async fn touch<S: TokenStore>(store: &S, used: &[(SlotKey, Timestamp)]) {
    store.touch(used).await.expect("touch answers");
}
