//! What memory keeps of a live token: a keyed tag of 128 bits, from which the token cannot be told.

use std::fmt;

use constant_time_eq::constant_time_eq_16;
use siphasher::sip128::SipHasher24;
use zeroize::Zeroizing;

use crate::cipher::{CipherError, random};

/// The random key of one process's tags; wiped when dropped.
pub(crate) struct TagKey(Zeroizing<[u8; 16]>);

/// SipHash-2-4-128 of a whole token under a [`TagKey`].
#[derive(Clone, Copy)]
pub(crate) struct TokenTag([u8; 16]);

impl TagKey {
    pub(crate) fn generate() -> Result<Self, CipherError> {
        let mut key = Zeroizing::new([0; 16]);
        random::fill(&mut *key)?;
        Ok(Self(key))
    }

    /// Tags a token; its length goes into the tag as SipHash defines.
    pub(crate) fn tag(&self, token: &[u8]) -> TokenTag {
        TokenTag(SipHasher24::new_with_key(&self.0).hash(token).as_bytes())
    }
}

impl TokenTag {
    /// Compares in constant time.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        constant_time_eq_16(&self.0, &other.0)
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TagKey").finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenTag").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_the_length_count() {
        let key = TagKey::generate().unwrap();
        let token = [7; 275];
        assert!(key.tag(&token).matches(&key.tag(&token)));
        assert!(!key.tag(&token).matches(&key.tag(&token[..274])));
        for position in 0..token.len() {
            let mut changed = token;
            changed[position] ^= 1;
            assert!(
                !key.tag(&token).matches(&key.tag(&changed)),
                "byte {position}"
            );
        }
    }

    #[test]
    fn another_process_has_other_tags() {
        let [one, other] = [TagKey::generate().unwrap(), TagKey::generate().unwrap()];
        assert!(!one.tag(b"token").matches(&other.tag(b"token")));
    }
}
