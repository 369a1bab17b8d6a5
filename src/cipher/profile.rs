//! What of a token is sealed: the token itself, or a digest that only its holder can match.

/// What a row holds of its token, once it is opened; see the table of [`envelope`](super::envelope).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// The token itself (profile 1). Whoever has the sealing key and the database can read it.
    #[default]
    Token,
    /// The SHA-256 of the token's signature and the id of the key that made it (profile 2): whoever has the
    /// sealing key, the database and even the signing key cannot tell the token from it.
    ///
    /// With all three they can make access tokens from it, each for an hour at most, until the token is rotated.
    SignatureDigest,
}

/// The first byte of what profile 2 seals. No token begins so: all of ours are text.
pub(crate) const DIGEST_MARK: u8 = 2;

impl Profile {
    /// Returns the profile of what is to be sealed, or was opened.
    pub(crate) fn of(plaintext: &[u8]) -> Self {
        match plaintext.first() {
            Some(&DIGEST_MARK) => Self::SignatureDigest,
            _ => Self::Token,
        }
    }

    /// Returns the profile as an envelope names it.
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Token => 1,
            Self::SignatureDigest => DIGEST_MARK,
        }
    }

    /// Returns the profile that an envelope names.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Token, Self::SignatureDigest]
            .into_iter()
            .find(|profile| profile.to_byte() == byte)
    }
}
