//! Those who watch a store, for stores that several threads or tasks have something to tell of.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ChangeObserver;

/// Keeps the observers of a store, and whether a feed runs for them.
///
/// For a [`TokenStore`](super::TokenStore) that hears of other processes' changes by a feed of its own, which begins
/// with the first observer and ends when none listens any longer. Both are behind one lock, so that neither is decided
/// without the other: an observer that comes while the feed ends is told that it has to be begun again.
///
/// ```
/// use tower_workspace_token::store::{ChangeObserver, Freshness, Observers};
///
/// fn watch(observers: &Observers, observer: ChangeObserver) -> Freshness {
///     if observers.add(observer) {
///         // Start the feed, which looks again and again, and asks `for_feed` whom to tell.
///     }
///     Freshness::Unwatched
/// }
/// ```
#[derive(Debug, Default)]
pub struct Observers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    observers: Vec<ChangeObserver>,
    feed_runs: bool,
}

impl Observers {
    /// Makes a list of nobody, for whom no feed runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an observer; returns whether the caller has to start the feed.
    #[must_use = "nobody else starts the feed"]
    pub fn add(&self, observer: ChangeObserver) -> bool {
        let mut state = self.state();
        state.observers.push(observer);
        !std::mem::replace(&mut state.feed_runs, true)
    }

    /// Returns those who still listen; if there is none, the feed has to end.
    pub fn for_feed(&self) -> Option<Vec<ChangeObserver>> {
        let mut state = self.state();
        state.observers.retain(|observer| !observer.is_closed());
        state.feed_runs = !state.observers.is_empty();
        state.feed_runs.then(|| state.observers.clone())
    }

    /// Notes that the feed could not be started: whoever is added next has to try again.
    pub fn feed_ended(&self) {
        self.state().feed_runs = false;
    }

    /// Tells each observer something that is known before the feed hears of it, such as a change that this process made.
    pub fn report(&self, report: impl FnMut(&ChangeObserver)) {
        // A copy, since an observer wakes tasks and none of them should find the lock held.
        let observers = self.state().observers.clone();
        observers.iter().for_each(report);
    }

    /// Returns whether anybody still listens.
    pub fn are_there(&self) -> bool {
        self.state().observers.iter().any(|it| !it.is_closed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::{
        clock::Moment,
        id::{Generation, SlotKey},
        store::ObserveChanges,
    };

    /// Counts what it is told, and asks back as a woken task may.
    #[derive(Default)]
    struct Listener {
        observers: Arc<Observers>,
        resyncs: AtomicUsize,
    }

    impl ObserveChanges for Listener {
        fn changed(&self, _: &SlotKey, _: Generation) {}
        fn resync(&self) {
            assert!(self.observers.are_there());
            self.resyncs.fetch_add(1, Ordering::Relaxed);
        }
        fn confirmed(&self, _: Moment) {}
    }

    fn listener(observers: &Arc<Observers>) -> (Arc<Listener>, ChangeObserver) {
        let listener = Arc::new(Listener {
            observers: Arc::clone(observers),
            ..Listener::default()
        });
        let target: Arc<dyn ObserveChanges> = Arc::<Listener>::clone(&listener);
        let observer = ChangeObserver::new(Arc::downgrade(&target));
        (listener, observer)
    }

    #[test]
    fn the_feed_begins_with_the_first_and_ends_with_the_last() {
        let observers = Arc::new(Observers::new());
        assert!(observers.for_feed().is_none() && !observers.are_there());
        let [(one, first), (other, second)] = [listener(&observers), listener(&observers)];
        assert!(observers.add(first));
        assert!(!observers.add(second));
        assert_eq!(observers.for_feed().map(|all| all.len()), Some(2));
        drop(one);
        assert_eq!(observers.for_feed().map(|all| all.len()), Some(1));
        drop(other);
        assert!(!observers.are_there());
        assert!(observers.for_feed().is_none());
        // It has ended, so the next one begins it again.
        assert!(observers.add(listener(&observers).1));
    }

    #[test]
    fn a_feed_that_could_not_be_started_is_tried_again() {
        let observers = Arc::new(Observers::new());
        assert!(observers.add(listener(&observers).1));
        observers.feed_ended();
        assert!(observers.add(listener(&observers).1));
    }

    #[test]
    fn a_report_reaches_everybody_who_listens_without_the_lock() {
        let observers = Arc::new(Observers::new());
        let (one, observer) = listener(&observers);
        let _ = observers.add(observer);
        let (other, observer) = listener(&observers);
        let _ = observers.add(observer);
        observers.report(ChangeObserver::resync);
        for listener in [one, other] {
            assert_eq!(listener.resyncs.load(Ordering::Relaxed), 1);
        }
    }
}
