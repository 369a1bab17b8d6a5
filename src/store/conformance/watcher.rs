//! An observer that writes down what a store reports.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use crate::{
    clock::Moment,
    id::{Generation, SlotKey},
    store::{ChangeObserver, Freshness, ObserveChanges, TokenStore},
};

/// How much longer than its lease a store may take on a busy machine before a wait gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Watches a store as an authority does, but only writes down what it is told.
///
/// For the promises that are a store's own; the suite proves those of the contract. Waits are
/// bounded by the store's lease and ten seconds for a busy machine.
#[derive(Debug)]
pub struct Watcher {
    recorder: Arc<Recorder>,
    freshness: Freshness,
}

/// What a store can report; the methods of [`ChangeObserver`] as values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// See [`ChangeObserver::changed`].
    Changed(SlotKey, Generation),
    /// See [`ChangeObserver::confirmed`].
    Confirmed(Moment),
    /// See [`ChangeObserver::resync`].
    Resync,
}

#[derive(Default)]
struct Recorder {
    reports: Mutex<Vec<Report>>,
    arrived: Notify,
}

impl Watcher {
    /// Begins to watch `store`; it stops when this is dropped.
    pub fn of<S: TokenStore>(store: &S) -> Self {
        let recorder = Arc::new(Recorder::default());
        let target: Weak<dyn ObserveChanges> = Arc::<Recorder>::downgrade(&recorder);
        let freshness = store.watch(ChangeObserver::new(target));
        Self {
            recorder,
            freshness,
        }
    }

    /// Returns what the store answered to being watched.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// Returns everything that was reported, in order.
    pub fn reports(&self) -> Vec<Report> {
        self.recorder.reports().clone()
    }

    /// Marks the present end of the reports, so that later questions are about what came after.
    pub fn mark(&self) -> usize {
        self.recorder.reports().len()
    }

    /// Returns whether it was told, since `mark`, that `key` has reached `generation`, or to doubt everything.
    pub fn was_told(&self, mark: usize, key: SlotKey, generation: Generation) -> bool {
        let reports = self.recorder.reports();
        let mut since = reports.iter().skip(mark);
        since.any(|report| report.tells_of(key, generation))
    }

    /// Waits until [`was_told`](Self::was_told) is true; returns whether it is.
    pub async fn is_told(&self, mark: usize, key: SlotKey, generation: Generation) -> bool {
        self.wait_until(|| self.was_told(mark, key, generation))
            .await
    }

    /// Returns whether it was told of a change, as in [`was_told`](Self::was_told), before a moment after `moment` was confirmed.
    pub fn was_told_before(
        &self,
        moment: Moment,
        mark: usize,
        key: SlotKey,
        generation: Generation,
    ) -> bool {
        let confirmed_later =
            |report: &&Report| matches!(report, Report::Confirmed(as_of) if *as_of > moment);
        let reports = self.recorder.reports();
        let mut before = reports
            .iter()
            .skip(mark)
            .take_while(|report| !confirmed_later(report));
        before.any(|report| report.tells_of(key, generation))
    }

    /// Waits until a moment after `moment` is confirmed; returns whether one is.
    pub async fn is_confirmed_after(&self, moment: Moment) -> bool {
        self.wait_until(|| self.latest_confirmed() > Some(moment))
            .await
    }

    /// Returns the latest moment that was confirmed.
    pub fn latest_confirmed(&self) -> Option<Moment> {
        let reports = self.recorder.reports();
        let moments = reports.iter().filter_map(|report| match report {
            Report::Confirmed(as_of) => Some(*as_of),
            _ => None,
        });
        moments.max()
    }

    /// Waits for reports until `condition` holds; returns whether it does.
    pub async fn wait_until(&self, condition: impl Fn() -> bool) -> bool {
        let holds = async {
            loop {
                // Made before the condition is asked, so that no report slips in between.
                let arrived = self.recorder.arrived.notified();
                if condition() {
                    return;
                }
                arrived.await;
            }
        };
        let lease = match self.freshness {
            Freshness::Lease { duration, .. } => duration,
            _ => Duration::ZERO,
        };
        timeout(lease + PATIENCE, holds).await.is_ok()
    }
}

impl Report {
    fn tells_of(&self, key: SlotKey, generation: Generation) -> bool {
        match self {
            Self::Changed(changed, reached) => *changed == key && *reached >= generation,
            Self::Confirmed(_) => false,
            Self::Resync => true,
        }
    }
}

impl Recorder {
    fn record(&self, report: Report) {
        self.reports().push(report);
        self.arrived.notify_waiters();
    }

    fn reports(&self) -> MutexGuard<'_, Vec<Report>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ObserveChanges for Recorder {
    fn changed(&self, key: &SlotKey, generation: Generation) {
        self.record(Report::Changed(*key, generation));
    }

    fn resync(&self) {
        self.record(Report::Resync);
    }

    fn confirmed(&self, as_of: Moment) {
        self.record(Report::Confirmed(as_of));
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}
