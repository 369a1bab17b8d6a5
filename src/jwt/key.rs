//! Signing keys: 256 bits each, from which the MAC key of every kind of token is derived.

use std::fmt;

use hkdf::Hkdf;
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::MacKey;
use crate::{
    cipher::{CipherError, RingKey, key_ring},
    id::KeyId,
};

/// A secret that tokens are signed with; wiped when dropped.
pub struct SigningKey {
    id: KeyId,
    secret: SecretBox<[u8; 32]>,
}

impl SigningKey {
    /// Takes a key that was made elsewhere: 32 bytes from a good random generator.
    ///
    /// The type keeps out what RFC 7518 §3.2 forbids, a key shorter than the MAC.
    pub fn from_bytes(secret: SecretBox<[u8; 32]>) -> Self {
        Self {
            id: key_ring::key_id(b"tower-workspace-token v1 signing key id", &secret),
            secret,
        }
    }

    /// Makes a new key.
    ///
    /// # Errors
    /// The operating system gave no randomness.
    pub fn generate() -> Result<Self, CipherError> {
        key_ring::generate_secret().map(Self::from_bytes)
    }

    /// Returns the key's bytes, for the key file.
    pub fn expose_secret(&self) -> &[u8; 32] {
        self.secret.expose_secret()
    }

    pub(super) fn mac_key(&self, label: &[u8]) -> MacKey {
        derive(self.secret.expose_secret(), label)
    }
}

/// Derives the MAC key that `label` names from a secret.
pub(super) fn derive(secret: &[u8; 32], label: &[u8]) -> MacKey {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, secret)
        .expand(label, &mut *key)
        .expect("HKDF-SHA256 gives up to 8,160 bytes (RFC 5869 §2.3)");
    MacKey::new(&key)
}

impl RingKey for SigningKey {
    fn id(&self) -> KeyId {
        self.id
    }
}

impl Clone for SigningKey {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            secret: key_ring::copy_secret(&self.secret),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
