//! What memory keeps of a live token: a keyed tag, from which the token cannot be told.
//!
//! The tag is NH, the universal hash of UMAC (Black, Halevi, Krawczyk, Krovetz, Rogaway: "UMAC: Fast
//! and Secure Message Authentication", 1999, §4; RFC 4418 §5.2), over words of 64 bits and twice, the second
//! time with the key shifted by one pair of words ("Toeplitz"). Two different texts have
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

/// The pair of key words that a token's length goes under: after those of the longest token's blocks and end.
const LENGTH: usize = MAX_TOKEN_LENGTH / BLOCK + 1;

/// One pair for each block, the end and the length, and one for the shift.
const PAIRS: usize = LENGTH + 2;

/// The random key of one process's tags; wiped when dropped.
pub(crate) struct TagKey(Box<Zeroizing<[[u64; 2]; PAIRS]>>);

/// The tag of a token under a [`TagKey`]: both sums of NH, in words.
#[derive(Clone, Copy)]
pub(crate) struct TokenTag([u64; 4]);

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
        Some(TokenTag([first[0], first[1], second[0], second[1]]))
    }

    /// Takes in the whole blocks of a token, and its last 16 bytes once more: so nothing has to be copied
    /// for padding, and texts of one length that differ have blocks that differ. Last comes the length, always
    /// under the same words: so the bound holds of texts of two lengths as well.
    #[inline]
    fn nh(&self, token: &[u8]) -> [u128; 2] {
        let (blocks, rest) = token.as_chunks::<BLOCK>();
        let (pairs, shifted) = (&self.0[..], &self.0[1..]);
        let mut sums = [0_u128; 2];
        for (block, (pair, shifted)) in blocks.iter().zip(pairs.iter().zip(shifted)) {
            add_block(&mut sums, block, pair, shifted);
        }
        let (end_pair, end_shifted) = (&pairs[blocks.len()], &shifted[blocks.len()]);
        match token.last_chunk() {
            Some(end) => add_block(&mut sums, end, end_pair, end_shifted),
            // No token of ours is as short as this.
            None => {
                let mut end = [0; BLOCK];
                end[..rest.len()].copy_from_slice(rest);
                add_block(&mut sums, &end, end_pair, end_shifted);
            }
        }
        let length = (token.len() as u128).to_le_bytes();
        add_block(&mut sums, &length, &pairs[LENGTH], &shifted[LENGTH]);
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
    /// Returns the words of the tag; all of them are 0 for no token.
    #[inline]
    pub(crate) fn to_words(self) -> [u64; 4] {
        self.0
    }

    /// Returns the tag of these words; `None` if they are of no token.
    #[inline]
    pub(crate) fn from_words(words: [u64; 4]) -> Option<Self> {
        (words != [0; 4]).then_some(Self(words))
    }

    /// Returns a number to find a tag by; whoever finds it compares the whole.
    pub(crate) fn index(&self) -> u64 {
        self.0[0]
    }

    /// Compares in constant time: all of it, and with one branch, on the outcome.
    #[inline]
    pub(crate) fn matches(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        let differences = pairs.fold(0, |found, (one, other)| found | (one ^ other));
        // Hidden from the optimizer, which might otherwise stop at the first difference.
        black_box(differences) == 0
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
            other.0[bit / 64] ^= 1 << (bit % 64);
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
        let sums = tag(&key, &token).0.map(u64::to_le_bytes);
        assert_eq!(sums.as_flattened(), [first, second].as_flattened());
    }

    #[test]
    fn what_is_padded_with_zeros_is_another_token() {
        let key = TagKey::generate().unwrap();
        let (short, long) = (tag(&key, b"token"), tag(&key, b"token\0\0\0"));
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
                let product = |at: usize, left: u64, right: u64| {
                    let left = left.wrapping_add(words[shift + at]);
                    let right = right.wrapping_add(words[shift + at + 1]);
                    u128::from(left) * u128::from(right)
                };
                let length_at = 2 * (MAX_TOKEN_LENGTH / BLOCK + 1);
                (0..message.len())
                    .step_by(2)
                    .map(|i| product(i, message[i], message[i + 1]))
                    .chain([product(length_at, length as u64, 0)])
                    .fold(0, u128::wrapping_add)
            };
            assert_eq!(key.nh(&token), [nh(0), nh(2)], "{length} bytes");
        }
        assert!(key.tag(&[0; MAX_TOKEN_LENGTH + 1]).is_none());
    }

    #[test]
    fn another_process_has_other_tags() {
        let [one, other] = [TagKey::generate().unwrap(), TagKey::generate().unwrap()];
        assert!(!tag(&one, b"token").matches(&tag(&other, b"token")));
    }
}
