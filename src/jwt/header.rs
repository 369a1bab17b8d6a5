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

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn key_id(&self) -> &KeyId {
        &self.key_id
    }
}
