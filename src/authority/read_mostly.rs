//! The maps of the hot path: read without a lock by every request, written to when a slot or session is new.

use foldhash::fast::RandomState;
use papaya::ResizeMode;

pub(super) type ReadMostlyMap<K, V> = papaya::HashMap<K, V, RandomState>;

/// Makes an empty map. Whoever makes it grow waits for that: no read is to look at two tables meanwhile.
pub(super) fn read_mostly_map<K, V>() -> ReadMostlyMap<K, V> {
    papaya::HashMap::builder()
        .hasher(RandomState::default())
        .resize_mode(ResizeMode::Blocking)
        .build()
}
