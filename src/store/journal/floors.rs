//! The floors in memory: the highest generation that the journal holds of each slot.
//!
//! A slot is known by 128 keyed bits of its name, since a million names would take a hundred megabytes
//! more than the floors themselves; names stand in the file.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
};

use crate::id::{Generation, SlotKey, TokenId};

/// How far a slot has come, by its row or by the journal: a row that is below what the journal knows was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotReached {
    /// The slot.
    pub key: SlotKey,
    /// The generation that it has reached.
    pub generation: Generation,
    /// The public id of the token of that generation; of the last one, if it was revoked.
    pub token_id: TokenId,
}

impl SlotReached {
    /// Says that the slot `key` has come to `generation`.
    pub fn new(key: SlotKey, generation: Generation, token_id: TokenId) -> Self {
        Self {
            key,
            generation,
            token_id,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Floors {
    floors: HashMap<Fingerprint, Floor>,
    hashers: [RandomState; 2],
}

/// A slot's name under two random keys of 128 bits each.
pub(super) type Fingerprint = [u64; 2];

#[derive(Clone, Copy, Debug)]
struct Floor {
    generation: Generation,
    token_id: TokenId,
}

impl Floors {
    pub(super) fn len(&self) -> usize {
        self.floors.len()
    }

    pub(super) fn fingerprint(&self, key: &SlotKey) -> Fingerprint {
        [0, 1].map(|index: usize| self.hashers[index].hash_one(key))
    }

    pub(super) fn of(&self, key: &SlotKey) -> Option<SlotReached> {
        let floor = self.floors.get(&self.fingerprint(key))?;
        Some(SlotReached::new(*key, floor.generation, floor.token_id))
    }

    /// Returns whether a slot has come further than its floor.
    pub(super) fn is_below(&self, slot: &SlotReached) -> bool {
        super::rises(self.of(&slot.key), *slot)
    }

    /// Raises the floor of a slot; a lower one changes nothing.
    pub(super) fn raise(&mut self, slot: &SlotReached) {
        let fingerprint = self.fingerprint(&slot.key);
        let raised = Floor {
            generation: slot.generation,
            token_id: slot.token_id,
        };
        let floor = self.floors.entry(fingerprint).or_insert(raised);
        if floor.generation < raised.generation {
            *floor = raised;
        }
    }

    /// Returns the slots that are not among `reached`.
    pub(super) fn others_than(&self, reached: &HashSet<Fingerprint>) -> HashSet<Fingerprint> {
        let all = self.floors.keys().copied();
        all.filter(|fingerprint| !reached.contains(fingerprint))
            .collect()
    }
}
