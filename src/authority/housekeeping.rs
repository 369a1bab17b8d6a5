//! What an authority does by itself, in one background task: notes last uses, ends idle sessions, and
//! polls a store that reports nothing.
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
        if self.freshness == Freshness::Unwatched {
            runtime.spawn(poll_store(Arc::downgrade(self), self.max_staleness / 2));
        }
    }

    /// Tells the store which tokens were used. Best effort.
    pub(super) async fn flush_uses(&self) {
        let now = self.clock.now();
        let used = self
            .memory
            .slots
            .collect(|slot| slot.take_used().then_some((slot.key, now)));
        if !used.is_empty() {
            // What is lost here is the time of a last use, which the next use sets again.
            let _ = self.store.touch(&used).await;
        }
    }

    /// Reads every slot that something waits on, as a store that reports changes would have reported.
    async fn poll_watched(&self) {
        let watched = self
            .memory
            .slots
            .collect(|slot| slot.cell.is_watched().then(|| Arc::clone(slot)));
        for slot in watched {
            match self.store.get(&slot.key).await {
                Ok(Some(record)) => {
                    slot.cell.observe(record.generation.number());
                }
                Ok(None) | Err(_) => slot.doubt(),
            }
        }
    }
}

async fn keep_house(authority: Weak<Inner>) {
    for round in 1_u32.. {
        sleep(SWEEP).await;
        let Some(inner) = authority.upgrade() else {
            return;
        };
        #[cfg(feature = "session")]
        inner.sessions.sweep();
        if round % SWEEPS_PER_FLUSH == 0 {
            inner.flush_uses().await;
        }
    }
}

async fn poll_store(authority: Weak<Inner>, interval: Duration) {
    loop {
        sleep(interval).await;
        let Some(inner) = authority.upgrade() else {
            return;
        };
        inner.poll_watched().await;
    }
}
