//! A waker that remembers that it was woken.

use std::{
    sync::Arc,
    task::{Wake, Waker},
};

use crate::sync::{AtomicU64, Ordering};

pub(super) struct Woken(AtomicU64);

impl Woken {
    pub(super) fn new() -> (Arc<Self>, Waker) {
        let woken = Arc::new(Self(AtomicU64::new(0)));
        (Arc::clone(&woken), Waker::from(woken))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
