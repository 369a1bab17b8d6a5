//! The longest, largest and oddest values that a store has to keep as they are.

use super::*;

pub(super) async fn run<S: TokenStore, F: Future<Output = S>>(make: &impl Fn() -> F) {
    prove! { make:
        the_longest_names_are_kept_apart
        the_largest_numbers_are_kept
        sealed_tokens_of_any_bytes_are_kept
        actor_and_reason_are_kept_as_they_are_written
    }
}

async fn the_longest_names_are_kept_apart<S: TokenStore>(store: Arc<S>) {
    let long = "z".repeat(63);
    let other = format!("{}y", "z".repeat(62));
    let keys = [
        slot_of(&long, &long),
        slot_of(&long, &other),
        slot_of(&other, &long),
        slot_of("z", &long),
        slot_of(&long, "z"),
    ];
    for (key, last) in keys.into_iter().zip(1..) {
        rotate_up_to(&*store, key, last).await;
    }
    for (key, last) in keys.into_iter().zip(1..) {
        assert_eq!(get(&*store, key).await, Some(row(key, last)));
        assert_eq!(history(&*store, key).await.len() as u64, last);
    }
}

async fn the_largest_numbers_are_kept<S: TokenStore>(store: Arc<S>) {
    let key = slot("primary");
    let largest = i64::MAX as u64;
    // The generation may run ahead of the revision: an import, say.
    let mut first = row(key, 1);
    first.generation = Generation::MAX;
    first.changed_at = Timestamp::from_millis(0);
    first.last_used_at = Some(Timestamp::from_millis(END_OF_YEAR_9999));
    let issued = HistoryEvent::new(
        HistoryEventKind::Issued,
        Generation::MAX,
        token_id(u64::MAX),
        Timestamp::from_millis(END_OF_YEAR_9999),
    );
    store
        .compare_and_swap(&key, None, first.clone(), Some(issued.clone()))
        .await
        .expect("the largest generation is written");
    assert_eq!(get(&*store, key).await, Some(first.clone()));
    assert_eq!(history(&*store, key).await, [issued]);

    let other = slot("other");
    let mut ahead = row(other, 1);
    ahead.revision = revision(largest - 1);
    store
        .compare_and_swap(&other, None, ahead, None)
        .await
        .expect("a large revision is written");
    let mut last = row(other, 2);
    last.revision = revision(largest);
    // Neighbours above 2^53 are one number to whoever counts in floating point.
    for wrong in [largest - 2, largest - 3] {
        let result = store
            .compare_and_swap(&other, Some(revision(wrong)), last.clone(), None)
            .await;
        assert_conflict(result, "to replace the revision before a large one");
    }
    store
        .compare_and_swap(&other, Some(revision(largest - 1)), last.clone(), None)
        .await
        .expect("the largest revision is written");
    assert_eq!(get(&*store, other).await, Some(last));
}

async fn sealed_tokens_of_any_bytes_are_kept<S: TokenStore>(store: Arc<S>) {
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    let cases = [
        ("empty", Vec::new()),
        ("zero", vec![0]),
        ("every-byte", every_byte.clone()),
        ("not-utf-8", vec![0xff, 0xfe, 0xc0, 0x80]),
        ("eight-kibibytes", every_byte.repeat(32)),
    ];
    for (name, bytes) in cases {
        let key = slot(name);
        let mut written = row(key, 1);
        written.sealed = Some(SealedToken::from_bytes(bytes));
        store
            .compare_and_swap(&key, None, written.clone(), None)
            .await
            .expect("any bytes are written");
        // An empty token is still one: only `None` is a tombstone.
        assert_eq!(get(&*store, key).await, Some(written), "{name}");
    }
}

async fn actor_and_reason_are_kept_as_they_are_written<S: TokenStore>(store: Arc<S>) {
    let key = slot("primary");
    let long = "so long a reason ".repeat(500);
    let texts = [
        None,
        Some(""),
        Some(" spaces "),
        Some("Zoë 工作区 🔑 \u{202e}right to left"),
        Some("e\u{301} is not é"),
        Some("'; DROP TABLE slots; --\t\"\\\r\n"),
        Some(&long),
    ];
    let mut expected = Vec::new();
    for (number, text) in (1..).zip(texts) {
        let mut event = event(HistoryEventKind::Rotated, number);
        event.actor = text.map(str::to_owned);
        event.reason = texts[texts.len() - number as usize].map(str::to_owned);
        let before = number.checked_sub(1).and_then(Revision::from_number);
        store
            .compare_and_swap(&key, before, row(key, number), Some(event.clone()))
            .await
            .expect("any text is written");
        expected.push(event);
    }
    assert_eq!(history(&*store, key).await, expected);
}

const END_OF_YEAR_9999: u64 = 253_402_300_799_999;
