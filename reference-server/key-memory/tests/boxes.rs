//! [`KeyMemory`] as the allocator of a process, as `wst` has it.
//!
//! A box's pointer may be used for what is in the box, and for nothing beside it: under Miri, whoever wipes more
//! than that through it is told.

use std::alloc::System;

use workspace_token_key_memory::{KeyMemory, hold, open, spilled};

#[global_allocator]
static MEMORY: KeyMemory<System> = KeyMemory::new(System);

/// Has a box freed, and looks at what lies in its place.
fn free_and_look<const SIZE: usize>(free: fn(Box<[u8; SIZE]>)) {
    let key = hold(|| Box::new([0xa5_u8; SIZE]));
    let before = key.as_ptr().addr();
    free(key);
    // Zeroed by nobody but who freed what was there.
    let next = hold(|| vec![0_u8; SIZE.next_multiple_of(64)]);
    assert_eq!(next.as_ptr().addr(), before, "of {SIZE} bytes");
    assert!(next.iter().all(|byte| *byte == 0), "of {SIZE} bytes");
}

/// One test, so that nobody else takes what is freed.
#[test]
fn boxes_of_any_size_are_wiped_when_they_are_dropped() {
    open();
    free_and_look::<1>(drop);
    free_and_look::<33>(drop);
    free_and_look::<64>(drop);
    free_and_look::<100>(drop);
    // Of a type that is larger than what it is made of, and one that grows.
    let (mixed, mut text) = hold(|| (Box::new((7_u64, 7_u8)), String::from("key")));
    text.push_str(" that becomes longer than one block: sixty-four bytes and some");
    assert_eq!((mixed.0, mixed.1, text.len()), (7, 7, 65));
    drop((mixed, text));
    let shared = hold(|| std::sync::Arc::new([7_u8; 33]));
    let other = std::sync::Arc::clone(&shared);
    std::thread::spawn(move || drop(other)).join().unwrap();
    drop(shared);
    assert_eq!(spilled(), 0);
}
