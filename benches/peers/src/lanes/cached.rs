//! What one writes to be fast: claims that were verified once are kept under the token's own text.
//!
//! The fastest form, without an expiry of what is kept: an entry lives until it is evicted, so a token that
//! was revoked goes on working, and every token is in memory as it is.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{BuildHasher, Hash},
    sync::{Arc, PoisonError, RwLock},
};

use dashmap::DashMap;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::{decode::Decode, gate::Check};
use crate::token::{Claims, PeerKey};

/// A map of claims by `Q`.
pub trait Memory<Q: ?Sized>: Send + Sync + 'static {
    /// Returns what is kept under `key`.
    fn get(&self, key: &Q) -> Option<Arc<Claims>>;

    /// Keeps `claims` under `key`.
    fn insert(&self, key: &Q, claims: Arc<Claims>);
}

/// Looks a token up, and decodes it if it is new.
#[derive(Debug)]
pub struct Remembered<M> {
    memory: Arc<M>,
    decode: Decode,
}

/// Looks up the SHA-256 of a token that says nothing by itself. A token that is not there is bad.
#[derive(Debug)]
pub struct Opaque<M>(Arc<M>);

impl<M> Remembered<M> {
    /// Makes the check, with nothing remembered.
    pub fn new(memory: M, key: &PeerKey) -> Self {
        Self {
            memory: Arc::new(memory),
            decode: Decode::new(key),
        }
    }
}

impl<M: Memory<[u8; 32]>> Opaque<M> {
    /// Makes the check, which knows `token`.
    pub fn new(memory: M, token: &str, claims: Claims) -> Self {
        memory.insert(&digest(token), Arc::new(claims));
        Self(Arc::new(memory))
    }
}

impl<M: Memory<str>> Check for Remembered<M> {
    type Identity = Arc<Claims>;

    fn check(&self, token: &str) -> Option<Arc<Claims>> {
        if let Some(claims) = self.memory.get(token) {
            return Some(claims);
        }
        let claims = Arc::new(self.decode.check(token)?);
        self.memory.insert(token, Arc::clone(&claims));
        Some(claims)
    }
}

impl<M: Memory<[u8; 32]>> Check for Opaque<M> {
    type Identity = Arc<Claims>;

    fn check(&self, token: &str) -> Option<Arc<Claims>> {
        self.0.get(&digest(token))
    }
}

/// Makes a cache of moka's, large enough for every token here.
pub fn moka() -> Cache<String, Arc<Claims>> {
    Cache::new(2_000_000)
}

/// Makes a map behind a lock.
pub fn locked() -> RwLock<HashMap<String, Arc<Claims>>> {
    RwLock::default()
}

impl<K, Q, H> Memory<Q> for Cache<K, Arc<Claims>, H>
where
    K: Borrow<Q> + Eq + Hash + Send + Sync + 'static,
    Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    H: BuildHasher + Clone + Send + Sync + 'static,
{
    fn get(&self, key: &Q) -> Option<Arc<Claims>> {
        Cache::get(self, key)
    }

    fn insert(&self, key: &Q, claims: Arc<Claims>) {
        Cache::insert(self, key.to_owned(), claims);
    }
}

impl<K, Q, H> Memory<Q> for DashMap<K, Arc<Claims>, H>
where
    K: Borrow<Q> + Eq + Hash + Send + Sync + 'static,
    Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    H: BuildHasher + Clone + Send + Sync + 'static,
{
    fn get(&self, key: &Q) -> Option<Arc<Claims>> {
        DashMap::get(self, key).map(|entry| Arc::clone(&entry))
    }

    fn insert(&self, key: &Q, claims: Arc<Claims>) {
        DashMap::insert(self, key.to_owned(), claims);
    }
}

impl<K, Q> Memory<Q> for RwLock<HashMap<K, Arc<Claims>>>
where
    K: Borrow<Q> + Eq + Hash + Send + Sync + 'static,
    Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
{
    fn get(&self, key: &Q) -> Option<Arc<Claims>> {
        let map = self.read().unwrap_or_else(PoisonError::into_inner);
        map.get(key).cloned()
    }

    fn insert(&self, key: &Q, claims: Arc<Claims>) {
        let mut map = self.write().unwrap_or_else(PoisonError::into_inner);
        map.insert(key.to_owned(), claims);
    }
}

impl<M> Clone for Remembered<M> {
    fn clone(&self) -> Self {
        Self {
            memory: Arc::clone(&self.memory),
            decode: self.decode.clone(),
        }
    }
}

impl<M> Clone for Opaque<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
