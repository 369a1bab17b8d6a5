//! What memory keeps of a live token: a keyed tag, from which the token cannot be told.
//!
//! The tag is NH, the universal hash of UMAC (Black, Halevi, Krawczyk, Krovetz, Rogaway: "UMAC: Fast
//! and Secure Message Authentication", 1999, §4; RFC 4418 §5.2), over words of 64 bits and twice, the second
//! time with the key shifted by one pair of words ("Toeplitz"). Two different texts of one length have
//! one tag with a probability of at most 2^-128 over the choice of the key, whoever chose the texts and
//! however fast their machines are. A client needs no more keeping out: a tag is compared, in constant
//! time, and never shown, so that it learns yes or no and nothing that the next guess could build on.
//!
//! The token does not follow from the tag, even with the key: the 128 bits of the `jti` and the MAC over
//! them are in it. Whoever reads key and tag out of the memory of the process can work out *another* text
//! with that tag, which this process then takes for the token until it is rotated. They have the signing
//! and sealing keys by then too; `docs/hot-path.md` says what a way out of that would cost.

use std::{fmt, hint::black_box};

use zeroize::Zeroizing;

use super::MAX_TOKEN_LENGTH;
use crate::cipher::{CipherError, random};

/// The bytes that one step takes in: a word of 64 bits for each of two.
const BLOCK: usize = 16;

/// As many pairs of key words as the longest token has blocks, one for its end, and one for the shift.
const PAIRS: usize = MAX_TOKEN_LENGTH / BLOCK + 2;

/// The random key of one process's tags; wiped when dropped.
pub(crate) struct TagKey(Box<Zeroizing<[[u64; 2]; PAIRS]>>);

/// The tag of a token under a [`TagKey`]: both sums of NH, and the length, which NH does not cover.
#[derive(Clone, Copy)]
pub(crate) struct TokenTag {
    sums: [u64; 4],
    length: u16,
}

impl TagKey {
    pub(crate) fn generate() -> Result<Self, CipherError> {
        let mut bytes = Zeroizing::new([[0; BLOCK]; PAIRS]);
        random::fill(bytes.as_flattened_mut())?;
        let mut key = Box::new(Zeroizing::new([[0; 2]; PAIRS]));
        for (pair, bytes) in key.iter_mut().zip(&*bytes) {
            *pair = words(bytes);
        }
        Ok(Self(key))
    }

    /// Tags a token; `None` if it is longer than any is.
    #[inline]
    pub(crate) fn tag(&self, token: &[u8]) -> Option<TokenTag> {
        if token.len() > MAX_TOKEN_LENGTH {
            return None;
        }
        let [first, second] = self.nh(token).map(|sum| [sum as u64, (sum >> 64) as u64]);
        Some(TokenTag {
            sums: [first[0], first[1], second[0], second[1]],
            length: u16::try_from(token.len()).ok()?,
        })
    }

    /// Takes in the whole blocks of a token, and its last 16 bytes once more: so nothing has to be copied
    /// for padding, and texts of one length that differ have blocks that differ.
    #[inline]
    fn nh(&self, token: &[u8]) -> [u128; 2] {
        let (blocks, rest) = token.as_chunks::<BLOCK>();
        let (pairs, shifted) = (&self.0[..], &self.0[1..]);
        let mut sums = [0_u128; 2];
        for (block, (pair, shifted)) in blocks.iter().zip(pairs.iter().zip(shifted)) {
            add_block(&mut sums, block, pair, shifted);
        }
        let (pair, shifted) = (&pairs[blocks.len()], &shifted[blocks.len()]);
        match token.last_chunk() {
            Some(end) => add_block(&mut sums, end, pair, shifted),
            // No token of ours is as short as this.
            None => {
                let mut end = [0; BLOCK];
                end[..rest.len()].copy_from_slice(rest);
                add_block(&mut sums, &end, pair, shifted);
            }
        }
        sums
    }
}

/// Adds (m₁ + k₁)(m₂ + k₂) to each sum, the words of the message and of the key modulo 2^64.
#[inline(always)]
fn add_block(sums: &mut [u128; 2], block: &[u8; BLOCK], pair: &[u64; 2], shifted: &[u64; 2]) {
    let message = words(block);
    for (sum, key) in sums.iter_mut().zip([pair, shifted]) {
        let [left, right] = [0, 1].map(|word| u128::from(message[word].wrapping_add(key[word])));
        *sum = sum.wrapping_add(left * right);
    }
}

fn words(block: &[u8; BLOCK]) -> [u64; 2] {
    let block = u128::from_le_bytes(*block);
    [block as u64, (block >> 64) as u64]
}

impl TokenTag {
    /// The tag of no token: none is as long.
    pub(crate) const OF_NONE: Self = Self {
        sums: [0; 4],
        length: u16::MAX,
    };

    /// Returns whether this is the tag of no token.
    pub(crate) fn is_of_none(&self) -> bool {
        self.length == Self::OF_NONE.length
    }

    /// Returns a number to find a tag by; whoever finds it compares the whole.
    pub(crate) fn index(&self) -> u64 {
        self.sums[0]
    }

    /// Compares in constant time: all of it, and with one branch, on the outcome.
    #[inline]
    pub(crate) fn matches(&self, other: &Self) -> bool {
        let pairs = self.sums.iter().zip(&other.sums);
        let differences = pairs.fold(0, |found, (one, other)| found | (one ^ other));
        // Hidden from the optimizer, which might otherwise stop at the first difference.
        black_box(differences) == 0 && self.length == other.length
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

    fn tag(key: &TagKey, token: &[u8]) -> TokenTag {
        key.tag(token).unwrap()
    }

    #[test]
    fn every_byte_and_the_length_count() {
        let key = TagKey::generate().unwrap();
        let token = [7; 275];
        assert!(tag(&key, &token).matches(&tag(&key, &token)));
        assert!(!tag(&key, &token).matches(&tag(&key, &token[..274])));
        for position in 0..token.len() {
            let mut changed = token;
            changed[position] ^= 1;
            assert!(
                !tag(&key, &token).matches(&tag(&key, &changed)),
                "byte {position}"
            );
        }
    }

    /// A token that differs may well have the first word of another's tag.
    #[test]
    fn every_bit_of_a_tag_is_compared() {
        let tag = tag(&TagKey::generate().unwrap(), &[7; 241]);
        for bit in 0..256 {
            let mut other = tag;
            other.sums[bit / 64] ^= 1 << (bit % 64);
            assert!(!tag.matches(&other) && !other.matches(&tag), "bit {bit}");
        }
    }

    /// What is shorter than a block is padded with zeros, which have to count.
    /// Half of a sum would tell tokens apart as well as half of a MAC does.
    #[test]
    fn a_tag_holds_all_of_both_sums() {
        let key = TagKey::generate().unwrap();
        let token = [0xa5; 275];
        let [first, second] = key.nh(&token).map(u128::to_le_bytes);
        let sums = tag(&key, &token).sums.map(u64::to_le_bytes);
        assert_eq!(sums.as_flattened(), [first, second].as_flattened());
    }

    #[test]
    fn what_is_padded_with_zeros_is_another_token() {
        let key = TagKey::generate().unwrap();
        let (short, long) = (tag(&key, b"token"), tag(&key, b"token\0\0\0"));
        assert_eq!(short.sums, long.sums);
        assert!(!short.matches(&long));
    }

    #[test]
    fn two_blocks_that_change_places_are_another_token() {
        let key = TagKey::generate().unwrap();
        let [one, other] = [[1; BLOCK], [2; BLOCK]];
        let there = tag(&key, &[one, other].concat());
        assert!(!there.matches(&tag(&key, &[other, one].concat())));
        let swapped = [&one[8..], &one[..8], &other[..]].concat();
        assert!(
            there.matches(&tag(&key, &swapped)),
            "all bytes of it are equal"
        );
        let halves = tag(&key, &[[1; 8], [2; 8]].concat());
        assert!(!halves.matches(&tag(&key, &[[2; 8], [1; 8]].concat())));
    }

    /// The definition, word by word, in the slowest way.
    #[test]
    fn is_nh_as_it_is_defined() {
        let key = TagKey::generate().unwrap();
        let words = key.0.as_flattened();
        for length in [16, 17, 31, 32, 240, 241, 275, MAX_TOKEN_LENGTH] {
            let token: Vec<u8> = (0..length).map(|n| (n * 31 % 251) as u8).collect();
            let whole = &token[..length / BLOCK * BLOCK];
            let encoded = [whole, &token[length - BLOCK..]].concat();
            let message: Vec<u64> = encoded
                .chunks(8)
                .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
                .collect();
            let nh = |shift: usize| {
                (0..message.len()).step_by(2).fold(0_u128, |sum, i| {
                    let left = message[i].wrapping_add(words[shift + i]);
                    let right = message[i + 1].wrapping_add(words[shift + i + 1]);
                    sum.wrapping_add(u128::from(left) * u128::from(right))
                })
            };
            assert_eq!(key.nh(&token), [nh(0), nh(2)], "{length} bytes");
        }
        assert!(key.tag(&[0; MAX_TOKEN_LENGTH + 1]).is_none());
    }

    #[test]
    fn no_token_has_the_tag_of_none() {
        const { assert!(MAX_TOKEN_LENGTH < u16::MAX as usize) };
        let key = TagKey::generate().unwrap();
        let longest = tag(&key, &[0; MAX_TOKEN_LENGTH]);
        let same_sums = TokenTag {
            sums: [0; 4],
            ..longest
        };
        assert!(!same_sums.matches(&TokenTag::OF_NONE));
    }

    #[test]
    fn another_process_has_other_tags() {
        let [one, other] = [TagKey::generate().unwrap(), TagKey::generate().unwrap()];
        assert!(!tag(&one, b"token").matches(&tag(&other, b"token")));
    }
}
