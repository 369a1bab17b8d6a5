//! The shared-memory primitives of the liveness code, so that the loom models can put theirs in their place.

pub(crate) use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering, fence},
};
