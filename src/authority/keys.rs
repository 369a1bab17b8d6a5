//! Rotating keys while tokens are in use: other rings, rows rewrapped, and which key a token needs.
//!
//! The order is: write the new rings where they are kept → [`TokenAuthority::replace_keys`] with the former
//! primary retired → [`TokenAuthority::rewrap`] of every slot → drop a key once no live token needs it.

use std::sync::{Arc, PoisonError};

use secrecy::ExposeSecret as _;

use super::{Inner, Keys, TokenAuthority, issue::next_revision};
use crate::{
    cipher::{Aes256Gcm, Profile, SealContext, envelope::Header},
    error::{Error, ErrorKind},
    id::{KeyId, SlotKey, TokenName, WorkspaceId},
    store::{StoreErrorKind, TokenRecord},
};

/// How often a row is rewrapped anew when it was rewritten meanwhile.
const ATTEMPTS: usize = 8;

/// What [`TokenAuthority::rewrap`] came to. Complete: a new outcome would be a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrapped {
    /// The row was sealed with the primary key already, and of the chosen profile.
    AlreadyCurrent,
    /// There is no live token in the slot, so nothing is sealed.
    NoToken,
    /// The row was sealed with another key or profile, and now is with the primary and of the chosen one.
    Rewrapped,
}

/// The keys that a live token needs; see [`TokenAuthority::token_keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenKeys {
    /// The key that its row is sealed with; `None` if a cipher of the application's own wrote no
    /// [`Header`].
    pub sealing: Option<KeyId>,
    /// The key that it is signed with; `None` if the ring does not hold it, so that the token is refused.
    pub signing: Option<KeyId>,
}

impl TokenAuthority {
    /// Signs, seals, verifies and opens with `keys` from here on, in the midst of work.
    ///
    /// Keep every key in the rings that a live token needs: whatever is signed or sealed with a key that
    /// is missing is refused from the next check on. So the former primary stays, as a retired key, and
    /// goes when [`token_keys`](Self::token_keys) of no live token names it.
    ///
    /// A token that is being minted at this very moment may yet be signed and sealed with the former
    /// primaries. Session tokens that a removed key has signed are answered as unknown sessions are,
    /// upon which clients initialize again; access tokens are refused, and so are those of a workspace token
    /// that it has signed. A cipher that was set with
    /// [`TokenAuthorityBuilder::cipher`](super::TokenAuthorityBuilder::cipher) keeps its own keys, and the sealing ring is not used.
    ///
    /// Of this authority only: another process on the same store goes on with its own rings, and has to
    /// be given the new keys, as retired ones, before this one seals or signs with them.
    pub fn replace_keys(&self, keys: Keys) {
        let inner = &self.inner;
        // Sealing first: a key that opens too much does no harm.
        if !inner.has_own_cipher {
            let mut cipher = inner.cipher.write().unwrap_or_else(PoisonError::into_inner);
            *cipher = Arc::new(Aes256Gcm::new(keys.sealing));
        }
        inner.workspace_tokens.replace_keys(&keys.signing);
        inner.access.replace_keys(&keys.signing);
        #[cfg(feature = "session")]
        inner.sessions.replace_keys(&keys.signing);
        // What is remembered was signed with any of the former keys: each token proves itself anew. After
        // all keys, so that whoever looked at a MAC under the former ones remembers what is doubted by now.
        inner.memory.slots.doubt_all();
        inner.access.forget_known();
        #[cfg(feature = "session")]
        inner.sessions.forget_proven();
    }

    /// Seals the token of the slot with the primary key, if it is sealed with another one.
    ///
    /// A row of another [profile](super::TokenAuthorityBuilder::profile) than the chosen one is brought to it, where that can be done.
    /// The token itself stays as it is, and so do its generation, its uses and the history; it is valid
    /// all along. Rewrapping is a compare-and-swap on the row: it never undoes a rotation, and one that
    /// was interrupted is begun again without harm.
    ///
    /// # Errors
    /// [`ErrorKind::Cipher`] if the row does not open, [`ErrorKind::Conflict`] if it was rewritten again
    /// and again meanwhile, or the store failed.
    pub async fn rewrap(
        &self,
        workspace: &WorkspaceId,
        name: &TokenName,
    ) -> Result<Rewrapped, Error> {
        let key = SlotKey::new(*workspace, *name);
        for _ in 0..ATTEMPTS {
            match self.inner.rewrap(&key).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                outcome => return outcome,
            }
        }
        Err(Error::new(ErrorKind::Conflict))
    }

    /// Returns the keys that the live token of the slot needs, or `None` if there is no live token.
    ///
    /// Which key has signed it stands in the token alone, so the row is opened for a moment.
    ///
    /// # Errors
    /// [`ErrorKind::Cipher`] if the row does not open, or the store failed.
    pub async fn token_keys(
        &self,
        workspace: &WorkspaceId,
        name: &TokenName,
    ) -> Result<Option<TokenKeys>, Error> {
        let key = SlotKey::new(*workspace, *name);
        let Some(record) = self.inner.read(&key).await? else {
            return Ok(None);
        };
        let Some(sealed) = &record.sealed else {
            return Ok(None);
        };
        let opened = self.inner.cipher().open(&context(&record), sealed).await?;
        Ok(Some(TokenKeys {
            sealing: header(&record).map(Header::key_id),
            signing: self.inner.signing_key_of(opened.expose_secret()),
        }))
    }
}

impl Inner {
    async fn rewrap(&self, key: &SlotKey) -> Result<Rewrapped, Error> {
        let Some(record) = self.read(key).await? else {
            return Ok(Rewrapped::NoToken);
        };
        let Some(sealed) = &record.sealed else {
            return Ok(Rewrapped::NoToken);
        };
        let cipher = self.cipher();
        let is_current = header(&record).is_some_and(|header| {
            header.key_id() == cipher.primary_key()
                && [self.profile, Profile::SignatureDigest].contains(&header.profile())
        });
        if is_current {
            return Ok(Rewrapped::AlreadyCurrent);
        }
        let context = context(&record);
        let opened = cipher.open(&context, sealed).await?;
        let mut next = record.clone();
        let plaintext = self.to_be_sealed(opened.expose_secret());
        next.sealed = Some(cipher.seal(&context, &plaintext).await?);
        next.revision = next_revision(Some(record.revision))?;
        let expected = Some(record.revision);
        // Not by way of `commit`: no generation begins, and no use of the token is to be forgotten.
        match self.store.compare_and_swap(key, expected, next, None).await {
            Ok(()) => Ok(Rewrapped::Rewrapped),
            // Written or not, the row holds the same token: looked at again, it says with which key.
            Err(error) if error.kind() == StoreErrorKind::Ambiguous => {
                Err(Error::with_source(ErrorKind::Conflict, error))
            }
            Err(error) => Err(error.into()),
        }
    }
}

pub(super) fn context(record: &TokenRecord) -> SealContext {
    SealContext {
        key: record.key,
        token_id: record.token_id,
        generation: record.generation,
    }
}

fn header(record: &TokenRecord) -> Option<Header> {
    Header::of(record.sealed.as_ref()?)
}

#[cfg(test)]
mod tests {
    use std::{
        hint,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;
    use crate::{
        cipher::{KeyRing, RingKey as _, SealKey},
        jwt::SigningKey,
        store::{MemoryStore, TokenStore},
        token::PresentedToken,
    };

    /// New primaries; the former ones are retired.
    fn rotated(keys: &Keys) -> Keys {
        let signing = KeyRing::new(SigningKey::generate().unwrap());
        let sealing = KeyRing::new(SealKey::generate().unwrap());
        Keys {
            signing: signing
                .with_retired(keys.signing.primary().clone())
                .unwrap(),
            sealing: sealing
                .with_retired(keys.sealing.primary().clone())
                .unwrap(),
        }
    }

    fn only_primaries(keys: &Keys) -> Keys {
        Keys {
            signing: KeyRing::new(keys.signing.primary().clone()),
            sealing: KeyRing::new(keys.sealing.primary().clone()),
        }
    }

    fn authority(store: &MemoryStore, keys: &Keys) -> TokenAuthority {
        TokenAuthority::builder(store.clone(), keys.clone())
            .build()
            .unwrap()
    }

    fn slot() -> (WorkspaceId, TokenName) {
        ("acme".parse().unwrap(), TokenName::primary())
    }

    async fn admits(authority: &TokenAuthority, token: &str) -> bool {
        let presented = PresentedToken::new(token.as_bytes());
        authority.verify(&slot().0, presented).await.is_ok()
    }

    #[tokio::test]
    async fn a_token_outlives_the_key_that_sealed_it_and_not_the_one_that_signed_it() {
        let (store, old) = (MemoryStore::new(), Keys::generate().unwrap());
        let authority = authority(&store, &old);
        let (acme, primary) = slot();
        let token = authority.issue(&acme, &primary).await.unwrap();
        let token = token.expose_secret();
        let new = rotated(&old);
        authority.replace_keys(new.clone());
        assert!(admits(&authority, token).await);
        let keys = authority
            .token_keys(&acme, &primary)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(keys.signing, Some(old.signing.primary().id()));
        assert_eq!(keys.sealing, Some(old.sealing.primary().id()));

        let outcomes = [Rewrapped::Rewrapped, Rewrapped::AlreadyCurrent];
        for outcome in outcomes {
            assert_eq!(authority.rewrap(&acme, &primary).await.unwrap(), outcome);
            assert!(admits(&authority, token).await);
        }
        let keys = authority
            .token_keys(&acme, &primary)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(keys.signing, Some(old.signing.primary().id()));
        assert_eq!(keys.sealing, Some(new.sealing.primary().id()));

        // Read anew, with the former sealing key gone.
        let without_old_seal = Keys {
            sealing: KeyRing::new(new.sealing.primary().clone()),
            ..new.clone()
        };
        assert!(admits(&self::authority(&store, &without_old_seal), token).await);
        // What memory knows is no way around a signing key that is gone.
        authority.replace_keys(only_primaries(&new));
        assert!(!admits(&authority, token).await);
        let next = authority.rotate(&acme, &primary).await.unwrap().token;
        assert!(admits(&authority, next.expose_secret()).await);
        let keys = authority
            .token_keys(&acme, &primary)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(keys.signing, Some(new.signing.primary().id()));
    }

    #[tokio::test]
    async fn rewrapping_raises_the_revision_alone() {
        let (store, old) = (MemoryStore::new(), Keys::generate().unwrap());
        let authority = authority(&store, &old);
        let (acme, primary) = slot();
        authority.issue(&acme, &primary).await.unwrap();
        let key = SlotKey::new(acme, primary);
        let before = TokenStore::get(&store, &key).await.unwrap().unwrap();
        authority.replace_keys(rotated(&old));
        authority.rewrap(&acme, &primary).await.unwrap();
        let after = TokenStore::get(&store, &key).await.unwrap().unwrap();
        assert_eq!(Some(after.revision), before.revision.next());
        assert_ne!(after.sealed, before.sealed);
        let unchanged = TokenRecord {
            revision: before.revision,
            sealed: before.sealed.clone(),
            ..after
        };
        assert_eq!(unchanged, before);
        assert_eq!(authority.history(&acme, &primary).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn there_is_nothing_to_rewrap_of_a_tombstone() {
        let (store, old) = (MemoryStore::new(), Keys::generate().unwrap());
        let authority = authority(&store, &old);
        let (acme, primary) = slot();
        let rewrap = || authority.rewrap(&acme, &primary);
        assert_eq!(rewrap().await.unwrap(), Rewrapped::NoToken);
        authority.issue(&acme, &primary).await.unwrap();
        authority.revoke(&acme, &primary).await.unwrap();
        authority.replace_keys(rotated(&old));
        assert_eq!(rewrap().await.unwrap(), Rewrapped::NoToken);
        assert_eq!(authority.token_keys(&acme, &primary).await.unwrap(), None);
    }

    /// A check notes how much is doubted, then looks at the MAC. If the doubt came before the last of the keys,
    /// what is signed with a former one could be checked in between, and be remembered as beyond doubt.
    #[test]
    fn doubt_comes_after_every_key() {
        let authority = authority(&MemoryStore::new(), &Keys::generate().unwrap());
        let inner = &authority.inner;
        let is_watching = AtomicBool::new(false);
        for _ in 0..50 {
            let new = Keys::generate().unwrap();
            let before = inner.memory.slots.resyncs();
            is_watching.store(false, Ordering::SeqCst);
            let in_force = thread::scope(|scope| {
                let watching = scope.spawn(|| {
                    is_watching.store(true, Ordering::SeqCst);
                    while inner.memory.slots.resyncs() == before {
                        hint::spin_loop();
                    }
                    primaries(inner)
                });
                while !is_watching.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
                authority.replace_keys(new.clone());
                watching.join().unwrap()
            });
            let expected = new.signing.primary().id();
            assert!(in_force.iter().all(|id| *id == expected), "{in_force:?}");
        }
    }

    /// The keys that tokens of each kind are signed with.
    fn primaries(inner: &Inner) -> Vec<KeyId> {
        let codecs = [
            #[cfg(feature = "session")]
            &inner.sessions.codec,
            &inner.access.codec,
            &inner.workspace_tokens,
        ];
        codecs.map(|codec| codec.key_ids()[0]).to_vec()
    }

    #[tokio::test]
    async fn a_row_under_an_unknown_key_is_an_error_and_stays_as_it_is() {
        let (store, old) = (MemoryStore::new(), Keys::generate().unwrap());
        let (acme, primary) = slot();
        authority(&store, &old)
            .issue(&acme, &primary)
            .await
            .unwrap();
        let key = SlotKey::new(acme, primary);
        let before = TokenStore::get(&store, &key).await.unwrap();
        let strange = authority(&store, &Keys::generate().unwrap());
        let error = strange.rewrap(&acme, &primary).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cipher);
        assert!(strange.token_keys(&acme, &primary).await.is_err());
        assert_eq!(TokenStore::get(&store, &key).await.unwrap(), before);
    }
}
