//! Sealing tokens at rest: the [`Cipher`] contract and [`Aes256Gcm`], the default.
//!
//! A cipher binds what it seals to its [`SealContext`], so that a row that was moved to another
//! slot, workspace or generation does not open. This module and `jwt` are the only ones that name a
//! cryptography crate.
//!
//! # Write a cipher of your own
//! `examples/custom_cipher.rs` is a whole one, in which a hardware module seals and the key never leaves it.
//!
//! 1. Use an authenticated encryption, with [`SealContext::to_bytes`] as its additional data, or the whole of it inside
//!    of what a key service calls an encryption context. It opens for that context and for no other.
//! 2. Begin what is sealed with a [`Header`](envelope::Header), and put it before the context into the additional
//!    data. It names the key: open with that one and never on trial with another. [`KeyId::from_digest`] makes the id out
//!    of whatever your keys are known by.
//! 3. Make sure that a nonce does not come twice under a key. Random ones of 96 bits are good for 2^32 seals, so
//!    either derive a key for each row, as [`Aes256Gcm`] does, or count. GCM does not commit to its key: what
//!    opens under two keys is refused only if you add something that does, such as zeros before the plaintext.
//! 4. Keep waiting off the async threads (`spawn_blocking`), bounded, and give up after a while: a check whose row does not
//!    open, whyever, is answered with a 503. Only the first sight of a token opens its row; what is
//!    remembered of it is a tag.
//! 5. Run the suite, `conformance` (feature `test-util`), on it: `run`, and `run_rotation` if it has more keys than one. It
//!    proves what can be seen from outside; where the key lies, and whether nonces repeat after 2^32 seals, it cannot see.

use std::{error, fmt, future::Future, pin::Pin, sync::Arc};

use ctutils::CtEq;
use secrecy::SecretSlice;
use sha2::{Digest as _, Sha256};

use crate::{
    id::{Generation, KeyId, SlotKey, TokenId},
    token::SealedToken,
};

mod aes_gcm;
#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
pub mod envelope;
pub(crate) mod key_ring;
pub(crate) mod profile;
pub(crate) mod random;

pub use aes_gcm::Aes256Gcm;
/// The crate of the secret types in this API.
pub use secrecy;

pub use key_ring::{InvalidKeyRing, KeyRing, RingKey, SealKey};
pub use profile::Profile;

/// Seals and opens tokens.
///
/// `async`, so that a key service on the network fits. [`Aes256Gcm`] is the default;
/// [`TokenAuthorityBuilder::cipher`](crate::authority::TokenAuthorityBuilder::cipher) takes another. Every method may be
/// called from many tasks at once, and a future may be dropped. An `Arc` of a cipher is a cipher.
///
/// To prove that a cipher of your own keeps the contract, run the suite on it, with the feature
/// `test-util` among your dev-dependencies:
///
#[cfg_attr(feature = "test-util", doc = "```")]
#[cfg_attr(not(feature = "test-util"), doc = "```text")]
/// # use tower_workspace_token::cipher::{Aes256Gcm, KeyRing, SealKey};
/// # fn my_cipher() -> Aes256Gcm { Aes256Gcm::new(KeyRing::new(SealKey::generate().unwrap())) }
/// # #[tokio::main]
/// # async fn main() {
/// // In a test of your own, on a runtime of several threads:
/// tower_workspace_token::cipher::conformance::run(|| async { my_cipher() }).await;
/// # }
/// ```
pub trait Cipher: Send + Sync + 'static {
    /// Encrypts `plaintext` and binds it to `context`.
    ///
    /// The plaintext has 1 to 4,096 bytes, of any value: it is a token, or a digest of one ([`Profile`]).
    ///
    /// # Errors
    /// The key service could not be reached, or no randomness was to be had.
    fn seal(
        &self,
        context: &SealContext,
        plaintext: &[u8],
    ) -> impl Future<Output = Result<SealedToken, CipherError>> + Send;

    /// Decrypts what [`seal`](Self::seal) made for the same `context`.
    ///
    /// # Errors
    /// One opaque error, whatever was wrong: another context, another key, a changed byte. A key service that could not
    /// be reached has a [source](CipherError::with_source), for the log.
    fn open(
        &self,
        context: &SealContext,
        sealed: &SealedToken,
    ) -> impl Future<Output = Result<SecretSlice<u8>, CipherError>> + Send;

    /// Returns the key that [`seal`](Self::seal) uses now, so that rows of older keys can be found and resealed.
    ///
    /// What is sealed says so in its [`Header`](envelope::Header), if it has one. The answer may change while the cipher
    /// is in use.
    fn primary_key(&self) -> KeyId;
}

/// What a sealed token is bound to: its slot, its id and its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealContext {
    /// The slot that the token fills.
    pub key: SlotKey,
    /// The public id of the token.
    pub token_id: TokenId,
    /// The generation of the token.
    pub generation: Generation,
}

/// A cipher that failed. Deliberately opaque: a decryption says no more than that it failed.
#[derive(Debug)]
pub struct CipherError {
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

/// Returns the SHA-256 of `parts`, one after the other (FIPS 180-4 §6.2).
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let hash = parts
        .iter()
        .fold(Sha256::new(), |hash, part| hash.chain_update(part));
    hash.finalize().into()
}

/// Compares two secrets; takes as long wherever they differ.
pub(crate) fn equal_in_constant_time(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).to_bool()
}

impl SealContext {
    /// Encodes the context unambiguously: each text behind its length in one byte, then the generation.
    ///
    /// | bytes | field |
    /// |---|---|
    /// | 1 + n | length and text of the workspace |
    /// | 1 + n | length and text of the slot's name |
    /// | 1 + 16 | length and text of the token id |
    /// | 8 | generation, big-endian |
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2 * 64 + 17 + 8);
        for text in [
            self.key.workspace.as_str(),
            self.key.name.as_str(),
            self.token_id.as_str(),
        ] {
            bytes.push(u8::try_from(text.len()).expect("identifiers have at most 63 characters"));
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&self.generation.number().to_be_bytes());
        bytes
    }
}

impl CipherError {
    /// Makes an error that says nothing but that it failed.
    pub fn opaque() -> Self {
        Self { source: None }
    }

    /// Makes an error for operators, out of a cause that holds no secret.
    pub fn with_source(source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
        }
    }
}

impl fmt::Display for CipherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sealing or opening failed")
    }
}

impl error::Error for CipherError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

impl<C: Cipher> Cipher for Arc<C> {
    async fn seal(
        &self,
        context: &SealContext,
        plaintext: &[u8],
    ) -> Result<SealedToken, CipherError> {
        C::seal(self, context, plaintext).await
    }

    async fn open(
        &self,
        context: &SealContext,
        sealed: &SealedToken,
    ) -> Result<SecretSlice<u8>, CipherError> {
        C::open(self, context, sealed).await
    }

    fn primary_key(&self) -> KeyId {
        C::primary_key(self)
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, CipherError>> + Send + 'a>>;

/// [`Cipher`] with boxed futures, so that no cipher's type reaches an application's own types.
pub(crate) trait ErasedCipher: Send + Sync + 'static {
    fn seal<'a>(&'a self, context: &'a SealContext, plaintext: &'a [u8])
    -> Answer<'a, SealedToken>;
    fn open<'a>(
        &'a self,
        context: &'a SealContext,
        sealed: &'a SealedToken,
    ) -> Answer<'a, SecretSlice<u8>>;
    fn primary_key(&self) -> KeyId;
}

impl<C: Cipher> ErasedCipher for C {
    fn seal<'a>(
        &'a self,
        context: &'a SealContext,
        plaintext: &'a [u8],
    ) -> Answer<'a, SealedToken> {
        Box::pin(Cipher::seal(self, context, plaintext))
    }

    fn open<'a>(
        &'a self,
        context: &'a SealContext,
        sealed: &'a SealedToken,
    ) -> Answer<'a, SecretSlice<u8>> {
        Box::pin(Cipher::open(self, context, sealed))
    }

    fn primary_key(&self) -> KeyId {
        Cipher::primary_key(self)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_differs_anywhere_is_not_equal() {
        assert!(equal_in_constant_time(b"token", b"token"));
        for other in ["Token", "tokem", "toke", "token.", ""] {
            assert!(
                !equal_in_constant_time(b"token", other.as_bytes()),
                "{other}"
            );
        }
    }

    #[test]
    fn an_error_says_that_it_failed_and_keeps_its_cause() {
        let error = CipherError::with_source(std::fmt::Error);
        assert_eq!(error.to_string(), "sealing or opening failed");
        assert!(error.source().is_some() && CipherError::opaque().source().is_none());
    }
}
