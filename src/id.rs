//! Identifiers: workspaces, slots, token ids, key ids, generations.
//!
//! Every identifier is a type that can only be made by parsing, so that past the edge no code asks
//! again whether a name is well-formed. All are small `Copy` values: the hot path clones no string.

use std::{array, fmt, hash, str};

/// The most characters of a [`WorkspaceId`] and of a [`TokenName`]: what a DNS label holds (RFC 1035 §2.3.4).
pub const MAX_LABEL_LENGTH: usize = 63;

/// Identifies a workspace: 1 to 63 of `[a-z0-9-]`, so that it fits a host label and a path segment.
///
/// It is the `aud` claim of each of the workspace's tokens (RFC 7519 §4.1.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspaceId(Label);

/// Names a slot: a place for one token in a workspace, rotated by itself.
///
/// 1 to 63 of `[a-z0-9-]`; it is the `sub` claim of the token (RFC 7519 §4.1.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenName(Label);

/// Identifies a key of a key ring: eight characters of base32, derived from the key itself.
///
/// Since the id is a function of the key, two keys never share one and a wrong key is noticed as an
/// unknown id rather than as a failed decryption.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KeyId::LENGTH]);

/// Identifies one issued token in public: 16 characters of base32, 80 bits.
///
/// Derived one-way from the secret `jti` of the token, so it can be shown and stored freely.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; TokenId::LENGTH]);

/// Addresses a slot: the workspace and the name of the slot in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotKey {
    /// The workspace that owns the slot.
    pub workspace: WorkspaceId,
    /// The name of the slot within the workspace.
    pub name: TokenName,
}

/// Counts how often a slot was rotated: starts at 1, only ever rises, survives revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u64);

/// Counts the writes of a slot's row: what [`compare_and_swap`](crate::store::TokenStore::compare_and_swap) compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

/// Says why a text is not an identifier. Holds no part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidId {
    expected: &'static str,
}

const LABEL_RULE: &str = "expected 1 to 63 of a-z, 0-9 and -";

impl WorkspaceId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Reads an id out of a host name, whose case does not count (RFC 9110 §4.2.3).
    pub(crate) fn from_any_case(text: &[u8]) -> Option<Self> {
        let mut lower = [0; MAX_LABEL_LENGTH];
        let lower = lower.get_mut(..text.len())?;
        lower.copy_from_slice(text);
        lower.make_ascii_lowercase();
        Label::parse(lower).map(Self)
    }
}

impl TokenName {
    /// The name of the slot that a workspace starts with, `primary`.
    pub fn primary() -> Self {
        Self(Label::parse(b"primary").expect("`primary` is a label"))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl SlotKey {
    /// Addresses the slot `name` of `workspace`.
    pub fn new(workspace: WorkspaceId, name: TokenName) -> Self {
        Self { workspace, name }
    }
}

impl Generation {
    /// The generation of the first token of a slot.
    pub const FIRST: Self = Self(1);
    /// The largest generation: what a signed 64-bit column of a database holds.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// Returns the generation `number`, or `None` for 0 and for what is above [`MAX`](Self::MAX).
    pub fn from_number(number: u64) -> Option<Self> {
        (Self::FIRST.0..=Self::MAX.0)
            .contains(&number)
            .then_some(Self(number))
    }

    /// Returns the generation as a number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// Returns the generation after this one, or `None` at [`MAX`](Self::MAX).
    pub fn next(self) -> Option<Self> {
        Self::from_number(self.0 + 1)
    }
}

impl Revision {
    /// The revision of a row's first write.
    pub const FIRST: Self = Self(1);

    /// Returns the revision `number`, or `None` for 0 and for what no signed 64-bit column holds.
    pub fn from_number(number: u64) -> Option<Self> {
        (1..=i64::MAX as u64)
            .contains(&number)
            .then_some(Self(number))
    }

    /// Returns the revision as a number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// Returns the revision after this one, or `None` where the numbers end.
    pub fn next(self) -> Option<Self> {
        Self::from_number(self.0 + 1)
    }
}

impl KeyId {
    /// The number of characters of every key id.
    pub const LENGTH: usize = 8;

    /// Makes the id out of the first 40 bits of a digest of the key; or, where nobody sees the key, of the name
    /// that a key service or a hardware module knows it by.
    pub fn from_digest(digest: &[u8; 5]) -> Self {
        let mut text = [0; Self::LENGTH];
        base32(digest, &mut text);
        Self(text)
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }
}

impl TokenId {
    /// The number of characters of every token id.
    pub const LENGTH: usize = 16;

    /// Makes the id out of the first 80 bits of a digest of the `jti`.
    pub(crate) fn from_digest(digest: &[u8; 10]) -> Self {
        let mut text = [0; Self::LENGTH];
        base32(digest, &mut text);
        Self(text)
    }

    /// Returns the id as two words, neither of which is 0.
    pub(crate) fn to_words(self) -> [u64; 2] {
        let word = |at: usize| u64::from_le_bytes(array::from_fn(|byte| self.0[at + byte]));
        [word(0), word(8)]
    }

    /// Returns the id that [`to_words`](Self::to_words) made these of; `None` for zeros.
    #[inline]
    pub(crate) fn from_words(words: [u64; 2]) -> Option<Self> {
        let [low, high] = words.map(u128::from);
        (words != [0; 2]).then_some(Self((high << 64 | low).to_le_bytes()))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        ascii(&self.0)
    }
}

/// At most 63 bytes of `[a-z0-9-]`, inline.
///
/// Unused bytes are zero, so that the derived comparison and hash see equal labels as equal.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Label {
    bytes: [u8; MAX_LABEL_LENGTH],
    length: u8,
}

impl Label {
    fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_LABEL_LENGTH];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        // Without a way out in between, so that many bytes are looked at together.
        let is_label = text
            .iter()
            .fold(true, |is_so_far, byte| is_so_far & is_label_byte(byte));
        (is_label && !text.is_empty()).then_some(Self {
            bytes,
            length: text.len() as u8,
        })
    }

    fn as_str(&self) -> &str {
        ascii(&self.bytes[..usize::from(self.length)])
    }
}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Label {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl hash::Hash for Label {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        // Without the unused bytes, and without looking whether the others are text.
        self.bytes[..usize::from(self.length)].hash(state);
    }
}

fn is_label_byte(byte: &u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')
}

fn ascii(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("identifiers are ASCII by construction")
}

/// Writes `digest` in the base32 alphabet of RFC 4648 §6, in lower case: eight characters for five bytes.
fn base32(digest: &[u8], text: &mut [u8]) {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    for (bytes, characters) in digest.chunks_exact(5).zip(text.chunks_exact_mut(8)) {
        let block = bytes
            .iter()
            .fold(0_u64, |block, byte| block << 8 | u64::from(*byte));
        for (position, character) in characters.iter_mut().enumerate() {
            *character = ALPHABET[(block >> (35 - 5 * position) & 31) as usize];
        }
    }
}

fn is_base32(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
}

macro_rules! impl_text {
    ($($id:ident: $parse:expr, $expected:expr;)*) => {$(
        impl str::FromStr for $id {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let parse: fn(&str) -> Option<Self> = $parse;
                parse(text).ok_or(InvalidId { expected: $expected })
            }
        }
        impl TryFrom<&str> for $id {
            type Error = InvalidId;
            fn try_from(text: &str) -> Result<Self, InvalidId> {
                text.parse()
            }
        }
        impl AsRef<str> for $id {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($id), "({})"), self.as_str())
            }
        }
    )*};
}

impl_text! {
    WorkspaceId: |text| Label::parse(text.as_bytes()).map(WorkspaceId), LABEL_RULE;
    TokenName: |text| Label::parse(text.as_bytes()).map(TokenName), LABEL_RULE;
    KeyId: |text| is_base32(text, KeyId::LENGTH).then(|| KeyId(text.as_bytes().try_into().expect("the length was checked"))), "expected 8 of a-z and 2-7";
    TokenId: |text| is_base32(text, TokenId::LENGTH).then(|| TokenId(text.as_bytes().try_into().expect("the length was checked"))), "expected 16 of a-z and 2-7";
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }
}

impl std::error::Error for InvalidId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_labels_of_1_to_63_characters() {
        for text in ["a", "0", "-", "agent-7", &"z".repeat(63)] {
            assert_eq!(text.parse::<WorkspaceId>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn refuses_what_is_not_a_label() {
        let too_long = "z".repeat(64);
        for text in [
            "", "A", "a_b", "a.b", "a/b", "a%62", " a", "ä", "a\0", &too_long,
        ] {
            assert!(text.parse::<WorkspaceId>().is_err(), "{text:?}");
            assert!(text.parse::<TokenName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn orders_labels_as_text() {
        let [a, ab, b]: [WorkspaceId; 3] = ["a", "ab", "b"].map(|text| text.parse().unwrap());
        assert!(a < ab && ab < b);
    }

    #[test]
    fn writes_base32_of_rfc_4648() {
        assert_eq!(KeyId::from_digest(b"fooba").as_str(), "mzxw6ytb");
        assert_eq!(
            TokenId::from_digest(b"foobafooba").as_str(),
            "mzxw6ytbmzxw6ytb"
        );
        assert!("mzxw6ytb".parse::<KeyId>().is_ok());
        for text in ["mzxw6yt", "mzxw6ytbb", "mzxw6yt1", "MZXW6YTB"] {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
    }

    #[test]
    fn generations_start_at_1_and_end_where_a_signed_column_does() {
        assert_eq!(Generation::from_number(0), None);
        assert_eq!(Generation::from_number(u64::MAX), None);
        assert_eq!(Generation::FIRST.next(), Generation::from_number(2));
        assert_eq!(Generation::MAX.next(), None);
    }
}
