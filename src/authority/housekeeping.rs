//! What an authority does by itself, in one background task: notes last uses, ends idle sessions, and
//! polls a store that reports nothing, has fallen silent, or may have missed something: a check reads
//! through by itself, an open stream would never know.
//!
//! The task begins with the first token that is looked up and ends with the authority.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::sleep;

use super::Inner;
use crate::store::Freshness;

/// How often sessions are swept.
const SWEEP: Duration = Duration::from_secs(1);

/// How many sweeps there are for one flush of last uses.
const SWEEPS_PER_FLUSH: u32 = 5;

/// How many uses a store is told of at once: whatever else is written waits for them no longer than that many take,
/// and those of a hundred thousand tokens may take longer than a store gives a statement.
const USES_AT_ONCE: usize = 1000;

impl Inner {
    /// Starts the background tasks, once.
    pub(crate) fn start_housekeeping(self: &Arc<Self>) {
        if self.housekeeping.get().is_some() {
            return;
        }
        // Outside of a runtime, the next check inside of one starts it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if self.housekeeping.set(()).is_err() {
            return;
        }
        runtime.spawn(keep_house(Arc::downgrade(self)));
        let resyncs = self.memory.slots.resyncs();
        runtime.spawn(poll_store(
            Arc::downgrade(self),
            resyncs,
            self.max_staleness / 2,
        ));
    }

    /// Returns whether the store's reports are behind by more than memory is trusted.
    fn is_silent(&self) -> bool {
        match self.freshness {
            Freshness::Immediate => false,
            Freshness::Lease { duration, .. } => self.memory.confirmed().is_none_or(|confirmed| {
                self.clock.moment().saturating_since(confirmed) > duration.min(self.max_staleness)
            }),
            Freshness::Unwatched => true,
        }
    }

    /// Tells the store which tokens were used. Best effort.
    pub(super) async fn flush_uses(&self) {
        let now = self.clock.now();
        let used = self
            .memory
            .slots
            .collect(|slot| slot.take_used().then_some((slot.key, now)));
        for part in used.chunks(USES_AT_ONCE) {
            // What is lost here is the time of a last use, which the next use sets again.
            let _ = self.store.touch(part).await;
        }
    }

    /// Reads every slot that something waits on, as a store that reports changes would have reported.
    /// Returns whether all could be read.
    async fn poll_watched(&self) -> bool {
        let mut all = true;
        for slot in self.memory.slots.in_use() {
            match self.store.get(&slot.key).await {
                Ok(Some(record)) => {
                    slot.cell().observe(record.generation.number());
                }
                Ok(None) => slot.doubt(),
                Err(_) => {
                    slot.doubt();
                    all = false;
                }
            }
        }
        all
    }
}

async fn keep_house(authority: Weak<Inner>) {
    for round in 1_u32.. {
        sleep(SWEEP).await;
        let Some(inner) = authority.upgrade() else {
            return;
        };
        inner.access.sweep();
        #[cfg(feature = "session")]
        inner
            .sessions
            .sweep(inner.clock.now(), inner.clock.moment());
        if round % SWEEPS_PER_FLUSH == 0 {
            inner.flush_uses().await;
        }
    }
}

async fn poll_store(authority: Weak<Inner>, mut resyncs: u64, interval: Duration) {
    loop {
        sleep(interval).await;
        let Some(inner) = authority.upgrade() else {
            return;
        };
        let seen = inner.memory.slots.resyncs();
        if (seen != resyncs || inner.is_silent()) && inner.poll_watched().await {
            resyncs = seen;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::{
        authority::{Keys, TokenAuthority},
        clock::Timestamp,
        id::{Generation, Revision, SlotKey, TokenName, WorkspaceId},
        store::{ChangeObserver, HistoryEvent, MemoryStore, StoreError, TokenRecord, TokenStore},
        token::PresentedToken,
    };

    #[tokio::test]
    async fn a_store_is_told_of_many_uses_in_parts() {
        let store = Told::default();
        let keys = Keys::generate().unwrap();
        let authority = TokenAuthority::builder(store.clone(), keys)
            .build()
            .unwrap();
        let used = 2 * USES_AT_ONCE + 1;
        for number in 0..used {
            let workspace = format!("w{number}").parse().unwrap();
            let issued = authority.issue(&workspace, &TokenName::primary()).await;
            let issued = issued.unwrap();
            let presented = PresentedToken::new(issued.expose_secret().as_bytes());
            authority.verify(&workspace, presented).await.unwrap();
        }
        authority.inner.flush_uses().await;
        let parts = store.parts.lock().unwrap().clone();
        assert_eq!(parts.iter().sum::<usize>(), used);
        assert!(parts.iter().all(|part| *part <= USES_AT_ONCE), "{parts:?}");
    }

    /// A memory store that keeps of how many uses it was told each time.
    #[derive(Clone, Default)]
    struct Told {
        rows: MemoryStore,
        parts: Arc<Mutex<Vec<usize>>>,
    }

    impl TokenStore for Told {
        async fn get(&self, key: &SlotKey) -> Result<Option<TokenRecord>, StoreError> {
            self.rows.get(key).await
        }

        async fn compare_and_swap(
            &self,
            key: &SlotKey,
            expected: Option<Revision>,
            next: TokenRecord,
            event: Option<HistoryEvent>,
        ) -> Result<(), StoreError> {
            self.rows.compare_and_swap(key, expected, next, event).await
        }

        async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<TokenRecord>, StoreError> {
            self.rows.list(workspace).await
        }

        async fn history(&self, key: &SlotKey) -> Result<Vec<HistoryEvent>, StoreError> {
            self.rows.history(key).await
        }

        async fn touch(&self, used: &[(SlotKey, Timestamp)]) -> Result<(), StoreError> {
            self.parts.lock().unwrap().push(used.len());
            self.rows.touch(used).await
        }

        fn watch(&self, observer: ChangeObserver) -> Freshness {
            self.rows.watch(observer)
        }

        async fn acknowledged(&self, key: &SlotKey, generation: Generation) {
            self.rows.acknowledged(key, generation).await;
        }
    }
}
