//! Runs a model in every interleaving and counts those in which its sentence is false.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What came out of a model.
#[derive(Clone, Copy, Debug)]
pub struct Explored {
    /// The interleavings that were run.
    pub executions: usize,
    /// Those in which the sentence was false.
    pub violations: usize,
}

/// Runs `holds` in every interleaving of the threads that it spawns and joins.
pub(crate) fn explore(holds: impl Fn() -> bool + Send + Sync + 'static) -> Explored {
    let executions = Arc::new(AtomicUsize::new(0));
    let violations = Arc::new(AtomicUsize::new(0));
    let (counted, violated) = (Arc::clone(&executions), Arc::clone(&violations));
    loom::model(move || {
        let holds = holds();
        counted.fetch_add(1, Ordering::Relaxed);
        violated.fetch_add(usize::from(!holds), Ordering::Relaxed);
    });
    Explored {
        executions: executions.load(Ordering::Relaxed),
        violations: violations.load(Ordering::Relaxed),
    }
}
