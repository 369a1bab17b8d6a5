//! HMAC-SHA256 with its key schedule done once.
//!
//! It implements `jsonwebtoken`'s signer and verifier traits. `jsonwebtoken::encode` and `decode`
//! are never called: they parse the header of an unauthenticated token, and panic where no
//! process-wide provider was chosen.

use std::fmt;

use constant_time_eq::constant_time_eq_32;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{
    Algorithm,
    crypto::{JwtSigner, JwtVerifier},
    signature::{self, Signer, Verifier},
};
use sha2::Sha256;

/// A MAC key, absorbed; its state is wiped when dropped.
#[derive(Clone)]
pub(crate) struct MacKey {
    absorbed: Hmac<Sha256>,
}

impl MacKey {
    /// The one algorithm there is (RFC 7518 §3.2).
    pub(crate) const ALGORITHM: Algorithm = Algorithm::HS256;

    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let absorbed = Hmac::new_from_slice(key).expect("HMAC takes a key of any length");
        Self { absorbed }
    }

    pub(crate) fn sign(&self, input: &[u8]) -> [u8; 32] {
        let mut mac = self.absorbed.clone();
        mac.update(input);
        mac.finalize().into_bytes().into()
    }

    /// Returns whether `mac` is the MAC of `input`; takes as long wherever they differ.
    pub(crate) fn verifies(&self, input: &[u8], mac: &[u8; 32]) -> bool {
        constant_time_eq_32(&self.sign(input), mac)
    }
}

impl Signer<Vec<u8>> for MacKey {
    fn try_sign(&self, input: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.sign(input).to_vec())
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
            .sign(b"Hi There")
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(
            hex,
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }

    #[test]
    fn refuses_a_mac_of_another_length() {
        let key = MacKey::new(&[1; 32]);
        let mac = key.try_sign(b"input").unwrap();
        assert!(key.verify(b"input", &mac).is_ok());
        assert!(key.verify(b"input", &mac[..16].to_vec()).is_err());
        assert!(key.verify(b"input", &Vec::new()).is_err());
    }
}
