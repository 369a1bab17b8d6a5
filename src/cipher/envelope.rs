//! The bytes of a sealed token, version 1.
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 1 | algorithm, 1 = AES-256-GCM with row keys |
//! | 2 | 8 | key id, ASCII |
//! | 10 | 1 | [profile](super::Profile), 1 = the token itself is sealed, 2 = a digest of its signature |
//! | 11 | 12 | nonce |
//! | 23 | 32 | key commitment |
//! | 55 | n | ciphertext, as long as the token, or 41 bytes in profile 2 |
//! | 55 + n | 16 | tag |
//!
//! The first eleven bytes are the [`Header`], which a cipher of your own may write too, with an algorithm
//! of its own out of [`PRIVATE_ALGORITHMS`], before bytes of its own. They stand
//! before the caller's context in the additional data and in the derivation of the row key, so none of
//! them can be changed unnoticed.
//!
//! What profile 2 seals:
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 1 | 2 |
//! | 1 | 8 | id of the signing key, ASCII |
//! | 9 | 32 | SHA-256 of the signature as it stands in the token, 43 characters of base64url |

use std::ops::RangeInclusive;

use super::Profile;
use crate::{id::KeyId, token::SealedToken};

/// The version that this library writes.
pub const VERSION: u8 = 1;
/// AES-256-GCM with a key and a commitment per row.
pub const ALGORITHM_AES_256_GCM: u8 = 1;

/// The algorithms that this library never uses: number those of ciphers of your own out of these.
pub const PRIVATE_ALGORITHMS: RangeInclusive<u8> = 128..=255;

/// The number of bytes of a [`Header`].
pub const HEADER_LENGTH: usize = 3 + KeyId::LENGTH;
pub(crate) const NONCE_LENGTH: usize = 12;
pub(crate) const COMMITMENT_LENGTH: usize = 32;
pub(crate) const TAG_LENGTH: usize = 16;
const PREFIX_LENGTH: usize = HEADER_LENGTH + NONCE_LENGTH + COMMITMENT_LENGTH;

/// The first eleven bytes of an envelope: which algorithm and key have sealed what, all of it public.
///
/// What a [`Cipher`](super::Cipher) of your own seals may begin with it or not. If it does, rows are
/// known by their key: [`rewrap`](crate::TokenAuthority::rewrap) leaves those of the primary key alone,
/// [`token_keys`](crate::TokenAuthority::token_keys) names the key, and stores find the rows of a key
/// that is to be retired. If it does not, every rewrap seals every row anew.
///
/// ```
/// # use tower_workspace_token::{cipher::{Profile, envelope::Header}, id::KeyId, token::SealedToken};
/// # let (key_id, plaintext, nonce_and_ciphertext): (KeyId, _, _) = ("mzxw6ytb".parse()?, b"a token", b"");
/// const MY_ALGORITHM: u8 = 128;
/// let header = Header::new(MY_ALGORITHM, key_id, plaintext);
/// // Put `header.to_bytes()` before the context into the additional data, and then:
/// let sealed = SealedToken::from_bytes([&header.to_bytes()[..], nonce_and_ciphertext].concat());
///
/// assert_eq!(Header::of(&sealed).unwrap().key_id(), key_id);
/// # Ok::<_, tower_workspace_token::id::InvalidId>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    algorithm: u8,
    key_id: KeyId,
    profile: Profile,
}

/// An envelope taken apart, unchecked but for its shape.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    pub(crate) header: &'a [u8; HEADER_LENGTH],
    pub(crate) key_id: KeyId,
    pub(crate) profile: Profile,
    pub(crate) nonce: &'a [u8; NONCE_LENGTH],
    pub(crate) commitment: &'a [u8; COMMITMENT_LENGTH],
    pub(crate) ciphertext: &'a [u8],
    pub(crate) tag: &'a [u8; TAG_LENGTH],
}

impl Header {
    /// Makes the header of an envelope that `key_id` seals; what it says of the [profile](Self::profile) is
    /// read off `plaintext`.
    ///
    /// A cipher of your own takes one of [`PRIVATE_ALGORITHMS`] for `algorithm`: what is sealed under another number than
    /// these and the library's own is [not known](Self::of).
    pub fn new(algorithm: u8, key_id: KeyId, plaintext: &[u8]) -> Self {
        Self {
            algorithm,
            key_id,
            profile: Profile::of(plaintext),
        }
    }

    /// Reads the header of `sealed`; `None` if it has none, or one that this library does not know.
    ///
    /// The algorithm is [`ALGORITHM_AES_256_GCM`], and the whole has the shape of an [`Envelope`], or it is
    /// one of [`PRIVATE_ALGORITHMS`]. Nothing is proved of it until the cipher has opened the envelope.
    pub fn of(sealed: &SealedToken) -> Option<Self> {
        let header = Self::parse(sealed.as_bytes().first_chunk()?)?;
        let is_known = PRIVATE_ALGORITHMS.contains(&header.algorithm)
            || Envelope::parse(sealed.as_bytes()).is_some();
        is_known.then_some(header)
    }

    fn parse(bytes: &[u8; HEADER_LENGTH]) -> Option<Self> {
        let [VERSION, algorithm, key_id @ .., profile] = bytes else {
            return None;
        };
        Some(Self {
            algorithm: *algorithm,
            key_id: std::str::from_utf8(key_id).ok()?.parse().ok()?,
            profile: Profile::from_byte(*profile)?,
        })
    }

    /// Returns the header as it stands at the beginning of an envelope.
    pub fn to_bytes(self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[0] = VERSION;
        bytes[1] = self.algorithm;
        bytes[2..HEADER_LENGTH - 1].copy_from_slice(self.key_id.as_str().as_bytes());
        bytes[HEADER_LENGTH - 1] = self.profile.to_byte();
        bytes
    }

    /// Returns the number of the algorithm, which says how the bytes after the header are laid out.
    pub fn algorithm(self) -> u8 {
        self.algorithm
    }

    /// Returns the key that the token is sealed with.
    pub fn key_id(self) -> KeyId {
        self.key_id
    }

    /// Returns what of the token is sealed.
    pub fn profile(self) -> Profile {
        self.profile
    }
}

impl<'a> Envelope<'a> {
    /// Takes `bytes` apart; `None` if their version, algorithm, profile or shape is unknown.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LENGTH>()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (commitment, rest) = rest.split_first_chunk()?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        let read = Header::parse(header)?;
        (read.algorithm == ALGORITHM_AES_256_GCM).then_some(Self {
            header,
            key_id: read.key_id,
            profile: read.profile,
            nonce,
            commitment,
            ciphertext,
            tag,
        })
    }

    /// Returns what of the token is sealed.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Returns the key that the token is sealed with.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }
}

/// Puts an envelope together.
pub(crate) fn write(
    header: &[u8; HEADER_LENGTH],
    nonce: &[u8; NONCE_LENGTH],
    commitment: &[u8; COMMITMENT_LENGTH],
    ciphertext: &[u8],
    tag: &[u8; TAG_LENGTH],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX_LENGTH + ciphertext.len() + TAG_LENGTH);
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(nonce);
    bytes.extend_from_slice(commitment);
    bytes.extend_from_slice(ciphertext);
    bytes.extend_from_slice(tag);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_id() -> KeyId {
        KeyId::from_digest(b"fooba")
    }

    fn read(algorithm: u8, rest: &[u8]) -> Option<Header> {
        let header = Header::new(algorithm, key_id(), b"a token").to_bytes();
        Header::of(&SealedToken::from_bytes([&header[..], rest].concat()))
    }

    #[test]
    fn a_header_of_an_algorithm_of_others_is_read_whatever_follows() {
        for algorithm in PRIVATE_ALGORITHMS {
            for rest in [&b""[..], b"what follows"] {
                let header = read(algorithm, rest).unwrap();
                assert_eq!(header.algorithm(), algorithm);
                assert_eq!(header.key_id(), key_id());
                assert_eq!(header.profile(), Profile::Token);
            }
        }
    }

    #[test]
    fn a_header_of_an_unknown_algorithm_is_none() {
        for algorithm in (0..=127).filter(|algorithm| *algorithm != ALGORITHM_AES_256_GCM) {
            assert_eq!(read(algorithm, &[0; 100]), None, "{algorithm}");
        }
    }

    #[test]
    fn a_header_of_our_own_algorithm_needs_the_whole_shape() {
        let least = PREFIX_LENGTH - HEADER_LENGTH + TAG_LENGTH;
        assert!(read(ALGORITHM_AES_256_GCM, &vec![0; least]).is_some());
        assert_eq!(
            read(ALGORITHM_AES_256_GCM, &vec![0; least - 1]),
            None,
            "cut off"
        );
    }

    #[test]
    fn what_begins_otherwise_has_no_header() {
        let right = Header::new(200, key_id(), &[2; 41]).to_bytes();
        assert_eq!(right[HEADER_LENGTH - 1], 2, "the profile is read off");
        for (position, byte) in [(0, 0), (0, 2), (2, b'1'), (9, b'Z'), (10, 0), (10, 3)] {
            let mut wrong = right;
            wrong[position] = byte;
            let wrong = SealedToken::from_bytes(wrong.to_vec());
            assert_eq!(Header::of(&wrong), None, "{position}");
        }
        assert_eq!(
            Header::of(&SealedToken::from_bytes(right[..10].to_vec())),
            None
        );
    }
}
