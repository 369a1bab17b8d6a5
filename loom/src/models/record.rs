//! A record is replaced while somebody reads it without a lock, and somebody marks what they have read.

use loom::thread;

use crate::{
    explore::{Explored, explore},
    record::{Record, Seen},
    sync::{leaked, weak},
};

/// What keeps the words in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fences {
    /// The fences of the record.
    Library,
    /// Broken: nothing does.
    None,
}

/// How the record is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// As what was seen (`Record::mark`).
    Library,
    /// Broken: as what is there when the mark is set.
    WhateverIsThere,
}

/// *What is read is what one write left, all of it.*
pub fn a_read_is_of_one_write(fences: Fences) -> Explored {
    match fences {
        Fences::Library => explore_reads(),
        Fences::None => weak::accesses(explore_reads),
    }
}

fn explore_reads() -> Explored {
    explore(|| {
        let record = leaked(Record::<2>::new());
        record.write([1, 1], false);
        let writer = thread::spawn(move || record.write([2, 2], false));
        let is_whole = record
            .read()
            .is_none_or(|seen| seen.words[0] == seen.words[1]);
        writer.join().unwrap();
        let last = record.read().map(|seen| seen.words);
        is_whole && last == Some([2, 2])
    })
}

/// *A mark is of the words that were seen, and goes with them.*
pub fn a_mark_goes_with_its_words(protocol: Protocol) -> Explored {
    explore(move || {
        let record = leaked(Record::<1>::new());
        record.write([1], false);
        let seen = record.read().expect("nobody writes");
        let writer = thread::spawn(move || record.write([2], false));
        mark(protocol, record, &seen);
        let between = record.read();
        writer.join().unwrap();
        let is_of_the_first = |seen: Seen<1>| seen.words == [1] || !seen.is_marked();
        between.is_none_or(is_of_the_first) && record.read().is_some_and(is_of_the_first)
    })
}

fn mark(protocol: Protocol, record: &Record<1>, seen: &Seen<1>) {
    match protocol {
        Protocol::Library => record.mark(seen),
        Protocol::WhateverIsThere => {
            if let Some(now) = record.read() {
                record.mark(&now);
            }
        }
    }
}
