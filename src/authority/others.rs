//! Other processes on the same rows: whether a rotation waits for them, and how it knew of them when it returned.
//!
//! A process trusts its memory for one lease. So a rotation may return when the store says that each of them has
//! heard of it, and in any case one lease after the commit: then none trusts what it remembers from before.

use tokio::time::timeout;

use super::Inner;
use crate::{
    clock::Moment,
    id::{Generation, SlotKey},
    store::Freshness,
};

/// For whom a rotation or revocation waits; see [`with_wait`](super::TokenAuthority::with_wait). Complete: a third
/// choice would be a breaking change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// For every process that may trust its memory of the rows: it returns when no check anywhere accepts the old token.
    #[default]
    AllNodes,
    /// For this process alone: others may accept the old token until they hear of it, at most for one lease of the store.
    ThisNode,
}

/// Why no other process accepted the old token any longer when a rotation or revocation returned, or that some may have.
///
/// In the order of how much is known: of several, the last one holds for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Others {
    /// The store says that there are none that trust their memory of its rows.
    #[default]
    Absent,
    /// Each has said that it knows.
    Acknowledged,
    /// Some have not said so; the lease for which they trust their memory has run out.
    LeaseRanOut,
    /// Nobody waited for them: [`Wait::ThisNode`] was chosen, or the store reports nothing, and each process has a
    /// [`max_staleness`](super::TokenAuthorityBuilder::max_staleness) of its own.
    NotAwaited,
}

impl Inner {
    /// Waits until no other process trusts what it remembers of `key` from before `committed`.
    pub(super) async fn tell_others(
        &self,
        key: &SlotKey,
        generation: Generation,
        committed: Moment,
        wait: Wait,
    ) -> Others {
        let lease = match self.freshness {
            Freshness::Immediate | Freshness::Lease { shared: false, .. } => return Others::Absent,
            Freshness::Unwatched => return Others::NotAwaited,
            Freshness::Lease { duration, .. } => duration,
        };
        if wait == Wait::ThisNode {
            return Others::NotAwaited;
        }
        let waited = self.clock.moment().saturating_since(committed);
        let acknowledged = self.store.acknowledged(key, generation);
        match timeout(lease.saturating_sub(waited), acknowledged).await {
            Ok(()) => Others::Acknowledged,
            Err(_) => Others::LeaseRanOut,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::watch, time::Instant};

    use super::*;
    use crate::{
        authority::{Keys, TokenAuthority},
        clock::Timestamp,
        id::{Revision, TokenName, WorkspaceId},
        store::{ChangeObserver, HistoryEvent, MemoryStore, StoreError, TokenRecord, TokenStore},
        token::PresentedToken,
    };

    const LEASE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_rotation_returns_when_the_others_have_acknowledged_it() {
        let store = Shared::new(lease(true));
        let acknowledge = store.acknowledged.clone();
        let rotation = tokio::spawn(rotate(store, Wait::AllNodes));
        tokio::time::sleep(LEASE / 10).await;
        assert!(!rotation.is_finished(), "nobody has acknowledged it");
        acknowledge.send_replace(2);
        assert_eq!(rotation.await.unwrap(), (Others::Acknowledged, LEASE / 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rotation_waits_no_longer_than_the_lease() {
        let store = Shared::new(lease(true));
        // Of the generation before, which is not this one.
        store.acknowledged.send_replace(1);
        let waited = rotate(store, Wait::AllNodes).await;
        assert_eq!(waited, (Others::LeaseRanOut, LEASE));
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_wait_for_others_is_told_so() {
        let waited = rotate(Shared::new(lease(true)), Wait::ThisNode).await;
        assert_eq!(waited, (Others::NotAwaited, Duration::ZERO));
        let waited = rotate(Shared::new(Freshness::Unwatched), Wait::AllNodes).await;
        assert_eq!(waited, (Others::NotAwaited, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_are_no_others_nobody_waits() {
        for freshness in [Freshness::Immediate, lease(false)] {
            let waited = rotate(Shared::new(freshness), Wait::AllNodes).await;
            assert_eq!(waited, (Others::Absent, Duration::ZERO));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_revocation_waits_as_a_rotation_does() {
        let authority = authority(Shared::new(lease(true)));
        let started = Instant::now();
        let receipt = authority.revoke(&acme(), &primary()).await;
        assert_eq!(
            receipt.unwrap_err().kind(),
            crate::error::ErrorKind::NotFound
        );
        authority.issue(&acme(), &primary()).await.unwrap();
        let receipt = authority.revoke(&acme(), &primary()).await.unwrap();
        assert_eq!(receipt.ended.others, Others::LeaseRanOut);
        assert!(started.elapsed() >= LEASE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_actor_keeps_the_wait_and_a_wait_the_actor() {
        let authority = authority(Shared::new(lease(true)));
        authority.issue(&acme(), &primary()).await.unwrap();
        let this_node = authority.with_actor("ada").with_wait(Wait::ThisNode);
        for authority in [this_node.clone(), this_node.with_reason("leaked")] {
            let receipt = authority.rotate(&acme(), &primary()).await.unwrap();
            assert_eq!(receipt.ended.others, Others::NotAwaited);
        }
        let history = authority.history(&acme(), &primary()).await.unwrap();
        assert_eq!(history[1].actor.as_deref(), Some("ada"));
        assert_eq!(history[2].reason.as_deref(), Some("leaked"));
    }

    /// Whoever rotates does not know of it, and waits for others alone.
    #[tokio::test]
    async fn a_process_that_has_confirmed_nothing_trusts_no_read() {
        let store = Shared::new(lease(true));
        store.acknowledged.send_replace(u64::MAX);
        let keys = Keys::generate().unwrap();
        let authority = |store| {
            TokenAuthority::builder(store, keys.clone())
                .build()
                .unwrap()
        };
        let here = authority(store.clone());
        let there = authority(store);
        let old = here.issue(&acme(), &primary()).await.unwrap();
        let check = || PresentedToken::new(old.expose_secret().as_bytes());
        for _ in 0..2 {
            there.verify(&acme(), check()).await.unwrap();
        }
        let receipt = here.rotate(&acme(), &primary()).await.unwrap();
        assert_eq!(receipt.ended.others, Others::Acknowledged);
        assert!(there.verify(&acme(), check()).await.is_err());
    }

    /// Issues a token, rotates it, and returns what is known of the others, and after how long.
    async fn rotate(store: Shared, wait: Wait) -> (Others, Duration) {
        let authority = authority(store).with_wait(wait);
        authority.issue(&acme(), &primary()).await.unwrap();
        let started = Instant::now();
        let receipt = authority.rotate(&acme(), &primary()).await.unwrap();
        // The timers of a paused runtime are a millisecond coarse.
        let millis = started.elapsed().as_millis() / 10 * 10;
        (receipt.ended.others, Duration::from_millis(millis as u64))
    }

    fn authority(store: Shared) -> TokenAuthority {
        TokenAuthority::builder(store, Keys::generate().unwrap())
            .build()
            .unwrap()
    }

    fn acme() -> WorkspaceId {
        "acme".parse().unwrap()
    }

    fn primary() -> TokenName {
        TokenName::primary()
    }

    fn lease(shared: bool) -> Freshness {
        Freshness::Lease {
            duration: LEASE,
            shared,
        }
    }

    /// A memory store with others that acknowledge what the test says.
    #[derive(Clone)]
    struct Shared {
        rows: MemoryStore,
        freshness: Freshness,
        acknowledged: watch::Sender<u64>,
    }

    impl Shared {
        fn new(freshness: Freshness) -> Self {
            Self {
                rows: MemoryStore::new(),
                freshness,
                acknowledged: watch::Sender::new(0),
            }
        }
    }

    impl TokenStore for Shared {
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
            self.rows.touch(used).await
        }

        fn watch(&self, _observer: ChangeObserver) -> Freshness {
            self.freshness
        }

        async fn acknowledged(&self, _key: &SlotKey, generation: Generation) {
            let mut acknowledged = self.acknowledged.subscribe();
            let known = |reached: &u64| *reached >= generation.number();
            acknowledged.wait_for(known).await.unwrap();
        }
    }
}
