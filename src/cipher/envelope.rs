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
//! The first eleven bytes stand before the caller's context in the additional data and in the
//! derivation of the row key, so none of them can be changed unnoticed.
//!
//! What profile 2 seals:
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 1 | 2 |
//! | 1 | 8 | id of the signing key, ASCII |
//! | 9 | 32 | SHA-256 of the signature as it stands in the token, 43 characters of base64url |

use super::Profile;
use crate::id::KeyId;

/// The version that this library writes.
pub const VERSION: u8 = 1;
/// AES-256-GCM with a key and a commitment per row.
pub const ALGORITHM_AES_256_GCM: u8 = 1;

pub(crate) const HEADER_LENGTH: usize = 3 + KeyId::LENGTH;
pub(crate) const NONCE_LENGTH: usize = 12;
pub(crate) const COMMITMENT_LENGTH: usize = 32;
pub(crate) const TAG_LENGTH: usize = 16;
const PREFIX_LENGTH: usize = HEADER_LENGTH + NONCE_LENGTH + COMMITMENT_LENGTH;

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

impl<'a> Envelope<'a> {
    /// Takes `bytes` apart; `None` if their version, algorithm, profile or shape is unknown.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LENGTH>()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (commitment, rest) = rest.split_first_chunk()?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        let [VERSION, ALGORITHM_AES_256_GCM, key_id @ .., profile] = header else {
            return None;
        };
        let key_id = std::str::from_utf8(key_id).ok()?.parse().ok()?;
        Some(Self {
            header,
            key_id,
            profile: Profile::from_byte(*profile)?,
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

/// Returns the first eleven bytes of an envelope that `key_id` seals.
pub(crate) fn header(key_id: &KeyId, profile: Profile) -> [u8; HEADER_LENGTH] {
    let mut header = [0; HEADER_LENGTH];
    header[0] = VERSION;
    header[1] = ALGORITHM_AES_256_GCM;
    header[2..HEADER_LENGTH - 1].copy_from_slice(key_id.as_str().as_bytes());
    header[HEADER_LENGTH - 1] = profile.to_byte();
    header
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
