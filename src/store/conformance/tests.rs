//! The suite passes a store that keeps the contract, and names the sentence that another one breaks.

use std::time::Duration;

use super::*;
use crate::{
    clock::{Clock, SystemClock},
    id::WorkspaceId,
    prove::words,
    store::{ChangeObserver, Freshness, MemoryStore},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_store_keeps_the_contract() {
    run(|| async { MemoryStore::new() }).await;
}

#[tokio::test]
async fn a_store_behind_an_arc_keeps_the_contract() {
    run(|| async { Arc::new(MemoryStore::new()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clones_of_the_memory_store_share_their_rows() {
    run_shared(|| async {
        let store = MemoryStore::new();
        (store.clone(), store)
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "what one acknowledged the other reads")]
async fn stores_that_are_not_shared_do_not_pass_as_shared() {
    run_shared(|| async { (MemoryStore::new(), MemoryStore::new()) }).await;
}

#[tokio::test]
async fn a_store_that_is_unwatched_breaks_nothing() {
    run_watching(|| flawed(Flaw::NeverReports(Freshness::Unwatched))).await;
}

#[tokio::test]
async fn names_the_sentence_that_a_store_breaks() {
    let cases = [
        (Flaw::CreateOverwrites, "create never overwrites"),
        (
            Flaw::ConflictRecordsEvent,
            "a conflict writes neither row nor event",
        ),
        (
            Flaw::HistoryNewestFirst,
            "events are recorded with their rows oldest first",
        ),
        (Flaw::HidesTombstones, "get and list return tombstones"),
        (
            Flaw::ListsByLength,
            "list is of one workspace and ordered by name",
        ),
        (Flaw::SwapsTwice, "one of many creators wins"),
        (Flaw::TouchRaisesRevision, "touch raises no revision"),
        (
            Flaw::NeverReports(Freshness::Immediate),
            "each change is reported",
        ),
    ];
    for (flaw, sentence) in cases {
        let suite = tokio::spawn(run(move || flawed(flaw)));
        let panic = suite.await.expect_err("the flaw is found").into_panic();
        let message = words(&*panic).to_owned();
        assert!(message.contains(sentence), "{flaw:?}: {message}");
    }
}

#[tokio::test]
async fn names_the_sentence_that_two_handles_break() {
    let cases = [
        (
            Flaw::AcknowledgesUntold,
            "what one acknowledges the other was told",
        ),
        (
            Flaw::AcknowledgesUnwritten,
            "what was not written is not acknowledged",
        ),
    ];
    for (flaw, sentence) in cases {
        let suite = tokio::spawn(run_shared(move || async move {
            let inner = MemoryStore::new();
            let handle = || FlawedStore {
                inner: inner.clone(),
                flaw,
            };
            (handle(), handle())
        }));
        let panic = suite.await.expect_err("the flaw is found").into_panic();
        let message = words(&*panic).to_owned();
        assert!(message.contains(sentence), "{flaw:?}: {message}");
    }
}

/// What is wrong with a [`FlawedStore`].
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    AcknowledgesUntold,
    AcknowledgesUnwritten,
    ConflictRecordsEvent,
    CreateOverwrites,
    HidesTombstones,
    HistoryNewestFirst,
    ListsByLength,
    NeverReports(Freshness),
    SwapsTwice,
    TouchRaisesRevision,
}

const LEASE: Freshness = Freshness::Lease {
    duration: Duration::from_millis(50),
    shared: true,
};

/// Has it trust its memory for as long as a test takes.
fn confirm_for_long(observer: &ChangeObserver) {
    let now = SystemClock.moment();
    observer.confirmed(now.saturating_add(Duration::from_secs(3600)));
}

/// A memory store with one flaw.
struct FlawedStore {
    inner: MemoryStore,
    flaw: Flaw,
}

async fn flawed(flaw: Flaw) -> FlawedStore {
    FlawedStore {
        inner: MemoryStore::new(),
        flaw,
    }
}

impl FlawedStore {
    /// Writes over whatever is there.
    async fn overwrite(&self, next: TokenRecord, event: Option<HistoryEvent>) {
        let key = next.key;
        let expected = get(&self.inner, key).await.map(|row| row.revision);
        self.inner
            .compare_and_swap(&key, expected, next, event)
            .await
            .expect("the revision was just read");
    }
}

impl TokenStore for FlawedStore {
    async fn get(&self, key: &SlotKey) -> Result<Option<TokenRecord>, StoreError> {
        self.inner.get(key).await
    }

    async fn compare_and_swap(
        &self,
        key: &SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Result<(), StoreError> {
        let swapped = self
            .inner
            .compare_and_swap(key, expected, next.clone(), event.clone())
            .await;
        if swapped.is_ok() {
            return swapped;
        }
        match self.flaw {
            Flaw::CreateOverwrites if expected.is_none() => self.overwrite(next, event).await,
            Flaw::ConflictRecordsEvent => {
                if let Some(row) = self.inner.get(key).await? {
                    self.overwrite(row, event).await;
                }
                return swapped;
            }
            Flaw::SwapsTwice if key.name.as_str() == "contended" => {}
            _ => return swapped,
        }
        Ok(())
    }

    async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<TokenRecord>, StoreError> {
        let mut rows = self.inner.list(workspace).await?;
        match self.flaw {
            Flaw::HidesTombstones => rows.retain(TokenRecord::is_live),
            Flaw::ListsByLength => rows.sort_by_key(|row| row.key.name.as_str().len()),
            _ => {}
        }
        Ok(rows)
    }

    async fn history(&self, key: &SlotKey) -> Result<Vec<HistoryEvent>, StoreError> {
        let mut events = self.inner.history(key).await?;
        if self.flaw == Flaw::HistoryNewestFirst {
            events.reverse();
        }
        Ok(events)
    }

    async fn touch(&self, used: &[(SlotKey, Timestamp)]) -> Result<(), StoreError> {
        if self.flaw == Flaw::TouchRaisesRevision {
            for (key, _) in used {
                if let Some(mut row) = self.inner.get(key).await? {
                    row.revision = row.revision.next().expect("the numbers have not ended");
                    self.overwrite(row, None).await;
                }
            }
        }
        self.inner.touch(used).await
    }

    fn watch(&self, observer: ChangeObserver) -> Freshness {
        match self.flaw {
            Flaw::NeverReports(freshness) => freshness,
            Flaw::AcknowledgesUntold => {
                confirm_for_long(&observer);
                LEASE
            }
            Flaw::AcknowledgesUnwritten => {
                confirm_for_long(&observer);
                self.inner.watch(observer);
                LEASE
            }
            _ => self.inner.watch(observer),
        }
    }

    async fn acknowledged(&self, _key: &SlotKey, _generation: Generation) {
        match self.flaw {
            Flaw::AcknowledgesUntold | Flaw::AcknowledgesUnwritten => {}
            _ => std::future::pending().await,
        }
    }
}
