//! A store and a cipher that count, lie and fail as a test tells them to.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use secrecy::SecretSlice;
use tower_workspace_token::{
    MemoryStore, TokenStore, WorkspaceId,
    cipher::{Aes256Gcm, Cipher, CipherError, KeyRing, SealContext, SealKey},
    clock::{Moment, Timestamp},
    id::{KeyId, Revision, SlotKey},
    store::{ChangeObserver, Freshness, HistoryEvent, StoreError, StoreErrorKind, TokenRecord},
    token::SealedToken,
};

/// A memory store in somebody else's hand.
#[derive(Clone)]
pub(crate) struct SpyStore(Arc<Spy>);

struct Spy {
    rows: MemoryStore,
    freshness: Option<Freshness>,
    forced: Mutex<HashMap<SlotKey, TokenRecord>>,
    observers: Mutex<Vec<ChangeObserver>>,
    reads: AtomicUsize,
    is_gone: AtomicBool,
}

impl SpyStore {
    /// With a freshness of its own it reports nothing but what the test has it report.
    pub(crate) fn new(freshness: Option<Freshness>) -> Self {
        Self(Arc::new(Spy {
            rows: MemoryStore::new(),
            freshness,
            forced: Mutex::default(),
            observers: Mutex::default(),
            reads: AtomicUsize::new(0),
            is_gone: AtomicBool::new(false),
        }))
    }

    /// Has every read of a slot find `row`, as after a write behind everybody's back.
    pub(crate) fn force(&self, row: TokenRecord) {
        self.0.forced.lock().unwrap().insert(row.key, row);
    }

    /// How often a row was asked for.
    pub(crate) fn reads(&self) -> usize {
        self.0.reads.load(Ordering::SeqCst)
    }

    /// Takes the store away, or brings it back.
    pub(crate) fn set_gone(&self, is_gone: bool) {
        self.0.is_gone.store(is_gone, Ordering::SeqCst);
    }

    pub(crate) fn confirm(&self, as_of: Moment) {
        self.observers(|observer| observer.confirmed(as_of));
    }

    pub(crate) fn resync(&self) {
        self.observers(ChangeObserver::resync);
    }

    fn observers(&self, report: impl Fn(&ChangeObserver)) {
        self.0.observers.lock().unwrap().iter().for_each(report);
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.0.is_gone.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Unavailable));
        }
        Ok(())
    }
}

impl TokenStore for SpyStore {
    async fn get(&self, key: &SlotKey) -> Result<Option<TokenRecord>, StoreError> {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        let forced = self.0.forced.lock().unwrap().get(key).cloned();
        match forced {
            Some(row) => Ok(Some(row)),
            None => self.0.rows.get(key).await,
        }
    }

    async fn compare_and_swap(
        &self,
        key: &SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Result<(), StoreError> {
        self.check()?;
        self.0
            .rows
            .compare_and_swap(key, expected, next, event)
            .await
    }

    async fn list(&self, workspace: &WorkspaceId) -> Result<Vec<TokenRecord>, StoreError> {
        self.check()?;
        self.0.rows.list(workspace).await
    }

    async fn history(&self, key: &SlotKey) -> Result<Vec<HistoryEvent>, StoreError> {
        self.check()?;
        self.0.rows.history(key).await
    }

    async fn touch(&self, used: &[(SlotKey, Timestamp)]) -> Result<(), StoreError> {
        self.check()?;
        self.0.rows.touch(used).await
    }

    fn watch(&self, observer: ChangeObserver) -> Freshness {
        match self.0.freshness {
            None => self.0.rows.watch(observer),
            Some(freshness) => {
                self.0.observers.lock().unwrap().push(observer);
                freshness
            }
        }
    }
}

/// The default cipher, counting what it opens.
#[derive(Clone)]
pub(crate) struct SpyCipher {
    inner: Aes256Gcm,
    opened: Arc<AtomicUsize>,
}

impl SpyCipher {
    pub(crate) fn new(keys: KeyRing<SealKey>) -> Self {
        Self {
            inner: Aes256Gcm::new(keys),
            opened: Arc::default(),
        }
    }

    /// How often a row was opened.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

impl Cipher for SpyCipher {
    async fn seal(
        &self,
        context: &SealContext,
        plaintext: &[u8],
    ) -> Result<SealedToken, CipherError> {
        self.inner.seal(context, plaintext).await
    }

    async fn open(
        &self,
        context: &SealContext,
        sealed: &SealedToken,
    ) -> Result<SecretSlice<u8>, CipherError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        self.inner.open(context, sealed).await
    }

    fn primary_key(&self) -> KeyId {
        self.inner.primary_key()
    }
}
