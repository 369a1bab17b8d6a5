//! [`KeyRoom`]: the key file of a server that runs, who needs which of its keys, and how they are replaced.
//!
//! The keys themselves are with the authority alone; here are their ids. To change them the file is read
//! again, written whole, and handed to the authority.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use anyhow::bail;
use tokio::sync::{Mutex, MutexGuard};
use tower_workspace_token::{
    authority::{Keys, TokenAuthority},
    cipher::RingKey as _,
    error::ErrorKind,
    id::{KeyId, SlotKey},
};
use workspace_token_key_memory::hold;

use crate::{data_dir::keys::KeyFile, db::Store, error::AppError, hardening, key_check::KeyName};

/// Where the keys are kept.
#[derive(Debug)]
pub(crate) struct KeyRoom {
    file: KeyFile,
    store: Store,
    ids: RwLock<KeyIds>,
    /// The keys that the last change put in the file, which may not have come to be used.
    written: RwLock<Option<KeyIds>>,
    one_at_a_time: Mutex<()>,
}

/// The ids of the keys of both rings, each ring's primary first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyIds {
    pub(crate) signing: Vec<KeyId>,
    pub(crate) sealing: Vec<KeyId>,
}

/// Which keys the live tokens need.
#[derive(Debug, Default)]
pub(crate) struct KeyUse {
    pub(crate) signing: BTreeMap<KeyId, Vec<SlotKey>>,
    pub(crate) sealing: BTreeMap<KeyId, Vec<SlotKey>>,
    /// Slots of locked workspaces: what they need is not known, and they may be unlocked.
    pub(crate) locked: Vec<SlotKey>,
    /// Slots whose token is signed with a key that is gone: it is refused as it is.
    pub(crate) unsigned: Vec<SlotKey>,
    /// Rows that no key opens: their tokens are refused as it is.
    pub(crate) unreadable: Vec<SlotKey>,
}

impl KeyRoom {
    pub(crate) fn new(file: KeyFile, store: Store, keys: &Keys) -> Self {
        Self {
            file,
            store,
            ids: RwLock::new(KeyIds::of(keys)),
            written: RwLock::default(),
            one_at_a_time: Mutex::default(),
        }
    }

    pub(crate) fn file(&self) -> &KeyFile {
        &self.file
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn ids(&self) -> KeyIds {
        let ids = self.ids.read().unwrap_or_else(PoisonError::into_inner);
        ids.clone()
    }

    /// Keeps others from changing the keys until the guard is dropped.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.one_at_a_time.lock().await
    }

    /// Reads the file again; fails if somebody else has changed it.
    pub(crate) fn read(&self) -> anyhow::Result<Keys> {
        let keys = hold(|| self.file.read())?;
        let found = KeyIds::of(&keys);
        let written = self.written.read().unwrap_or_else(PoisonError::into_inner);
        if found != self.ids() && written.as_ref() != Some(&found) {
            bail!(
                "the key file {} was changed since the server read it: restart the server, then try again; nothing was changed",
                self.file.path().display()
            );
        }
        Ok(keys)
    }

    /// Writes `keys` to the file and then has `authority` use them.
    ///
    /// Not before the file is kept whatever happens: it is not taken back if that fails, and may be changed again.
    pub(crate) fn replace(&self, authority: &TokenAuthority, keys: Keys) -> anyhow::Result<()> {
        self.file.replace(&keys)?;
        *self.written.write().unwrap_or_else(PoisonError::into_inner) = Some(KeyIds::of(&keys));
        self.file.keep()?;
        *self.ids.write().unwrap_or_else(PoisonError::into_inner) = KeyIds::of(&keys);
        // Copies, which lie where keys belong, wherever those lay that were made.
        hold(|| authority.replace_keys(keys.clone()));
        hardening::warn_of_spilled_keys();
        Ok(())
    }

    /// Returns the keys that a copy of the database needs which is made before the guard is dropped: until
    /// then the keys stay as they are, and no token comes under a former one any more.
    pub(crate) async fn needed(
        &self,
        authority: &TokenAuthority,
    ) -> Result<(MutexGuard<'_, ()>, Vec<KeyName>), AppError> {
        let turn = self.turn().await;
        let needed = self.in_use(authority).await?.needed(&self.ids());
        Ok((turn, needed))
    }

    /// Finds out which keys the live tokens need; opens each of them for a moment.
    pub(crate) async fn in_use(&self, authority: &TokenAuthority) -> Result<KeyUse, AppError> {
        let mut found = KeyUse::default();
        let live = self.store.live_slots().await.map_err(unavailable)?;
        for (index, slot) in live.into_iter().enumerate() {
            let key = slot.key;
            if let Some(sealing) = slot.sealed_with {
                found.sealing.entry(sealing).or_default().push(key);
            }
            match authority.token_keys(&key.workspace, &key.name).await {
                Ok(Some(keys)) => match keys.signing {
                    Some(signing) => found.signing.entry(signing).or_default().push(key),
                    None => found.unsigned.push(key),
                },
                // Revoked meanwhile.
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Locked => found.locked.push(key),
                Err(error) if error.kind() == ErrorKind::Cipher => found.unreadable.push(key),
                Err(error) => return Err(error.into()),
            }
            // Opening is work without a pause, and others wait for this thread.
            if index % 64 == 63 {
                tokio::task::yield_now().await;
            }
        }
        Ok(found)
    }
}

impl KeyUse {
    /// Returns the keys that a copy of the database needs: the primaries of `ids`, and the former ones of
    /// live tokens.
    fn needed(&self, ids: &KeyIds) -> Vec<KeyName> {
        let rings = [
            ("signing", &ids.signing, &self.signing),
            ("sealing", &ids.sealing, &self.sealing),
        ];
        let mut needed = Vec::new();
        for (ring, ids, used) in rings {
            // Not one that is gone: what was sealed with it opens with no key file.
            // Of a locked workspace nobody knows what its tokens need.
            let is_needed = |id: &&KeyId| !self.locked.is_empty() || used.contains_key(*id);
            let former = ids.iter().skip(1).filter(is_needed);
            let names = ids.iter().take(1).chain(former);
            needed.extend(names.map(|id| (ring, id.to_string())));
        }
        needed
    }
}

impl KeyIds {
    fn of(keys: &Keys) -> Self {
        Self {
            signing: keys.signing.iter().map(|key| key.id()).collect(),
            sealing: keys.sealing.iter().map(|key| key.id()).collect(),
        }
    }

    /// Returns them as the database names them.
    pub(crate) fn names(&self) -> Vec<KeyName> {
        let of = |ring, ids: &[KeyId]| {
            let names = ids.iter().map(|id| (ring, id.to_string()));
            names.collect::<Vec<_>>()
        };
        [of("signing", &self.signing), of("sealing", &self.sealing)].concat()
    }
}

/// Names slots for a sentence: the first few, and how many more there are.
pub(crate) fn name_slots(slots: &[SlotKey]) -> String {
    let mut names: Vec<String> = slots.iter().take(MOST_NAMED).map(slot_name).collect();
    if slots.len() > MOST_NAMED {
        names.push(format!("{} more", slots.len() - MOST_NAMED));
    }
    names.join(", ")
}

fn slot_name(slot: &SlotKey) -> String {
    format!("{}/{}", slot.workspace, slot.name)
}

pub(crate) fn unavailable(error: tower_workspace_token::store::StoreError) -> AppError {
    tower_workspace_token::error::Error::from(error).into()
}

const MOST_NAMED: usize = 10;
