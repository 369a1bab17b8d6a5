//! The store behind a pointer, so that no store's type reaches an application's own types.

use std::{future::Future, pin::Pin};

use super::{ChangeObserver, Freshness, HistoryEvent, StoreError, TokenRecord, TokenStore};
use crate::{
    clock::Timestamp,
    id::{Generation, Revision, SlotKey, WorkspaceId},
};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// [`TokenStore`] with boxed futures.
pub(crate) trait ErasedStore: Send + Sync + 'static {
    fn get<'a>(&'a self, key: &'a SlotKey) -> Answer<'a, Option<TokenRecord>>;
    fn compare_and_swap<'a>(
        &'a self,
        key: &'a SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Answer<'a, ()>;
    fn list<'a>(&'a self, workspace: &'a WorkspaceId) -> Answer<'a, Vec<TokenRecord>>;
    fn history<'a>(&'a self, key: &'a SlotKey) -> Answer<'a, Vec<HistoryEvent>>;
    fn touch<'a>(&'a self, used: &'a [(SlotKey, Timestamp)]) -> Answer<'a, ()>;
    fn watch(&self, observer: ChangeObserver) -> Freshness;
    fn acknowledged<'a>(
        &'a self,
        key: &'a SlotKey,
        generation: Generation,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

impl<S: TokenStore> ErasedStore for S {
    fn get<'a>(&'a self, key: &'a SlotKey) -> Answer<'a, Option<TokenRecord>> {
        Box::pin(TokenStore::get(self, key))
    }

    fn compare_and_swap<'a>(
        &'a self,
        key: &'a SlotKey,
        expected: Option<Revision>,
        next: TokenRecord,
        event: Option<HistoryEvent>,
    ) -> Answer<'a, ()> {
        Box::pin(TokenStore::compare_and_swap(
            self, key, expected, next, event,
        ))
    }

    fn list<'a>(&'a self, workspace: &'a WorkspaceId) -> Answer<'a, Vec<TokenRecord>> {
        Box::pin(TokenStore::list(self, workspace))
    }

    fn history<'a>(&'a self, key: &'a SlotKey) -> Answer<'a, Vec<HistoryEvent>> {
        Box::pin(TokenStore::history(self, key))
    }

    fn touch<'a>(&'a self, used: &'a [(SlotKey, Timestamp)]) -> Answer<'a, ()> {
        Box::pin(TokenStore::touch(self, used))
    }

    fn watch(&self, observer: ChangeObserver) -> Freshness {
        TokenStore::watch(self, observer)
    }

    fn acknowledged<'a>(
        &'a self,
        key: &'a SlotKey,
        generation: Generation,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(TokenStore::acknowledged(self, key, generation))
    }
}
