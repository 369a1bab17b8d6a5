//! The exact bytes that a token begins with: its JOSE header in base64url and the dot behind it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{TokenKind, mac::MacKey};
use crate::id::KeyId;

/// The first part of every token of one kind and one key.
#[derive(Debug)]
pub(crate) struct Header {
    key_id: KeyId,
    text: String,
}

impl Header {
    /// Where the part of the text begins that the id of the key decides: `{"alg":"HS256","kid":` are 21
    /// bytes, and base64 makes four characters of each three.
    pub(super) const KEY_ID_AT: usize = 21 / 3 * 4;

    /// Where it ends: a quote and the id are 9 bytes more.
    pub(super) const KEY_ID_END: usize = Self::KEY_ID_AT + (1 + KeyId::LENGTH) / 3 * 4;

    /// Writes `{"alg":"HS256","kid":"…","typ":"…"}`: members in alphabetical order, no white space.
    pub(crate) fn new(kind: TokenKind, key_id: &KeyId) -> Self {
        let json = format!(
            r#"{{"alg":"{:?}","kid":"{key_id}","typ":"{}"}}"#,
            MacKey::ALGORITHM,
            kind.typ()
        );
        let mut text = URL_SAFE_NO_PAD.encode(json);
        text.push('.');
        Self {
            key_id: *key_id,
            text,
        }
    }

    /// Takes a header of somebody else's, with the dot behind it.
    #[cfg(test)]
    pub(super) fn foreign(text: String) -> Self {
        Self {
            key_id: "aaaaaaaa".parse().unwrap(),
            text,
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether `token` begins with this header, whatever the id of the key in it.
    #[inline]
    pub(crate) fn frames(&self, token: &[u8]) -> bool {
        let text = self.text.as_bytes();
        let Some(start) = token.get(..text.len()) else {
            return false;
        };
        start[..Self::KEY_ID_AT] == text[..Self::KEY_ID_AT]
            && start[Self::KEY_ID_END..] == text[Self::KEY_ID_END..]
    }

    pub(crate) fn key_id(&self) -> &KeyId {
        &self.key_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_every_key_and_nothing_else() {
        for kind in [TokenKind::Access, TokenKind::Session, TokenKind::Workspace] {
            let [frame, other] =
                ["aaaaaaaa", "z7z7z7z7"].map(|id| Header::new(kind, &id.parse().unwrap()));
            let token = format!("{}payload", other.as_str());
            assert!(frame.frames(token.as_bytes()));
            for position in (0..Header::KEY_ID_AT).chain(Header::KEY_ID_END..other.as_str().len()) {
                let mut changed = token.clone().into_bytes();
                changed[position] ^= 1;
                assert!(!frame.frames(&changed), "{kind:?}, byte {position}");
            }
            assert!(!frame.frames(&other.as_str().as_bytes()[1..]));
        }
        let of_kind = |kind| Header::new(kind, &"aaaaaaaa".parse().unwrap());
        let session = of_kind(TokenKind::Session);
        assert!(!of_kind(TokenKind::Workspace).frames(session.as_str().as_bytes()));
    }
}
