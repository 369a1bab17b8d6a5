//! What is remembered, and by what it is found.

use std::thread;

use super::*;
use crate::{
    clock::{Clock as _, SystemClock},
    jwt::TagKey,
};

fn key(name: &str) -> SlotKey {
    SlotKey::new(name.parse().unwrap(), name.parse().unwrap())
}

fn tag(tags: &TagKey, token: &str) -> TokenTag {
    tags.tag(token.as_bytes()).unwrap()
}

fn id(number: u8) -> TokenId {
    TokenId::from_digest(&[number; 10])
}

fn current(revision: u64, token: Option<CurrentToken>) -> Current {
    Current {
        revision: Revision::from_number(revision).unwrap(),
        generation: Generation::from_number(revision).unwrap(),
        token,
        read_at: SystemClock.moment(),
        doubts: 0,
    }
}

#[test]
fn a_slot_is_found_by_the_tag_of_its_token_and_of_no_other() {
    let (table, tags) = (SlotTable::default(), TagKey::generate().unwrap());
    for name in ["one", "other"] {
        let slot = table.get_or_create(&key(name));
        let token = CurrentToken::unproven(Some(tag(&tags, name)), id(7));
        table.remember(&slot, &current(1, Some(token)));
    }
    let (found, known) = table.find(&tag(&tags, "one")).unwrap();
    assert_eq!((found, known.token_id()), (&key("one"), Some(id(7))));
    assert!(table.find(&tag(&tags, "another")).is_none());
}

/// The index knows 32 bits of a tag.
#[test]
fn every_bit_of_a_tag_counts() {
    let (table, tags) = (SlotTable::default(), TagKey::generate().unwrap());
    let right = tag(&tags, "token");
    let slot = table.get_or_create(&key("acme"));
    let token = CurrentToken::proven(right, id(1));
    table.remember(&slot, &current(1, Some(token)));
    assert!(table.find(&right).is_some());
    for bit in 0..256 {
        let mut words = right.to_words();
        words[bit / 64] ^= 1 << (bit % 64);
        let other = TokenTag::from_words(words).unwrap();
        assert!(table.find(&other).is_none(), "bit {bit}");
    }
}

#[test]
fn what_is_remembered_comes_back_as_it_was() {
    let (table, tags) = (SlotTable::default(), TagKey::generate().unwrap());
    let slot = table.get_or_create(&key("acme"));
    assert!(slot.known().is_none());
    let token = CurrentToken::proven(tag(&tags, "token"), id(3));
    let read = Current {
        doubts: 5,
        ..current(9, Some(token))
    };
    table.remember(&slot, &read);
    let known = slot.known().unwrap();
    assert!(known.tag().unwrap().matches(&tag(&tags, "token")) && known.is_proven());
    assert_eq!((known.revision(), known.doubts()), (9, 5));
    assert_eq!(known.read_at(), read.read_at);
    assert_eq!(known.generation(), Some(read.generation));
}

#[test]
fn a_token_that_was_replaced_is_found_no_more() {
    let (table, tags) = (SlotTable::default(), TagKey::generate().unwrap());
    let slot = table.get_or_create(&key("acme"));
    let [old, new] = ["old", "new"].map(|token| tag(&tags, token));
    let token = |tag| Some(CurrentToken::unproven(Some(tag), id(1)));
    table.remember(&slot, &current(1, token(old)));
    table.remember(&slot, &current(2, token(new)));
    assert!(table.find(&old).is_none() && table.find(&new).is_some());
    // Who read before comes late.
    table.remember(&slot, &current(1, token(old)));
    assert!(table.find(&old).is_none() && table.find(&new).is_some());
    table.remember(&slot, &current(3, None));
    assert!(table.find(&new).is_none());
    assert_eq!(slot.known().unwrap().token_id(), None);
}

#[test]
fn a_token_that_is_replaced_meanwhile_is_not_proven_by_its_predecessor() {
    let (table, tags) = (SlotTable::default(), TagKey::generate().unwrap());
    let slot = table.get_or_create(&key("acme"));
    let [old, new] = ["old", "new"].map(|token| tag(&tags, token));
    let token = |tag| Some(CurrentToken::unproven(Some(tag), id(1)));
    table.remember(&slot, &current(1, token(old)));
    let (_, known) = table.find(&old).unwrap();
    table.remember(&slot, &current(2, token(new)));
    known.prove();
    assert!(!slot.known().unwrap().is_proven());
}

/// An access token's check that comes between may not take its parent's tag away: the next request would read the store.
#[test]
fn a_tag_stays_known_while_its_token_is_seen_without_it() {
    let (table, tags) = (SlotTable::default(), TagKey::generate().unwrap());
    let slot = table.get_or_create(&key("acme"));
    let [first, second] = ["first", "second"].map(|token| tag(&tags, token));
    let seen = |id| Some(CurrentToken::unproven(None, id));
    let proven = CurrentToken::proven(first, id(1));
    table.remember(&slot, &current(1, Some(proven)));
    table.remember(&slot, &current(1, seen(id(1))));
    let (_, known) = table.find(&first).unwrap();
    // Its MAC was not looked at under the keys of now.
    assert!(!known.is_proven());
    // Of another revision, and of another token, as after a restore, it is not known.
    table.remember(&slot, &current(2, seen(id(1))));
    assert!(table.find(&first).is_none() && slot.known().unwrap().tag().is_none());
    let proven = CurrentToken::proven(second, id(1));
    table.remember(&slot, &current(3, Some(proven)));
    table.remember(&slot, &current(3, seen(id(2))));
    assert!(table.find(&second).is_none() && slot.known().unwrap().tag().is_none());
}

#[test]
fn nothing_of_a_token_outlives_its_table() {
    let (table, tags) = (SlotTable::default(), TagKey::generate().unwrap());
    let slot = table.get_or_create(&key("acme"));
    let token = CurrentToken::proven(tag(&tags, "token"), id(3));
    table.remember(&slot, &current(1, Some(token)));
    drop(table);
    assert_eq!(slot.state.current.read().unwrap().words, [0; WORDS]);
}

/// One cell for each slot, however many ask for it at once.
#[test]
fn there_are_not_two_of_one_slot() {
    let table = SlotTable::default();
    let cells = || {
        let slots = (0..1000).map(|n| table.get_or_create(&key(&format!("w{n}"))));
        Vec::from_iter(slots.map(|slot| std::ptr::from_ref(slot.cell()) as usize))
    };
    let [one, other] = thread::scope(|scope| {
        let threads = [scope.spawn(cells), scope.spawn(cells)];
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(one, other);
    assert_eq!(table.collect(Some).len(), 1000);
    let distinct = std::collections::HashSet::<_>::from_iter(one);
    assert_eq!(distinct.len(), 1000);
}

/// Whoever reads while another one writes sees one write or nothing: tag and id go together.
#[test]
fn what_is_read_is_of_one_write() {
    let (table, tags) = (SlotTable::default(), TagKey::generate().unwrap());
    let slot = table.get_or_create(&key("acme"));
    let token = |n: u64| tag(&tags, &n.to_string());
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..20_000 {
                let token = CurrentToken::unproven(Some(token(n)), id(n as u8));
                table.remember(&slot, &current(n, Some(token)));
            }
        });
        while slot.known().is_none_or(|known| known.revision() < 19_999) {
            let Some(known) = slot.known() else { continue };
            let n = known.revision();
            assert!(known.tag().unwrap().matches(&token(n)), "{n}");
            assert_eq!(known.token_id(), Some(id(n as u8)));
        }
    });
}
