//! How tokens look to somebody who has no key: for finding those that have leaked.
//!
//! Nothing here says that a token is genuine. What it is good for, the
//! [`authority`](crate::authority) alone knows.

use std::iter;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{
    AccessClaims, MAX_TOKEN_LENGTH, Payload, SIGNATURE_LENGTH, SessionClaims, TokenKind,
    WorkspaceClaims, header::Header,
};
use crate::{
    clock::Timestamp,
    id::{Generation, KeyId, TokenId, TokenName, WorkspaceId},
};

/// How all tokens of one kind look, whatever key they were signed with.
///
/// A token is, without a gap: [`start`](Self::start), [`KEY_ID_LENGTH`](Self::KEY_ID_LENGTH) characters,
/// [`end`](Self::end), a payload of any length, a dot, and [`SIGNATURE_LENGTH`](Self::SIGNATURE_LENGTH)
/// characters; at most [`MAX_TOKEN_LENGTH`] in all. All characters but the dots are those of base64url.
#[derive(Debug)]
pub struct TokenLook {
    kind: TokenKind,
    header: Header,
}

/// What a token says of itself, which anybody can write.
///
/// # Security
/// Nothing of it was checked: neither a signature, nor whether there is such a workspace. It is for
/// telling people where to look, and no proof of anything.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UncheckedClaims {
    /// The workspace that it is to open.
    pub workspace: WorkspaceId,
    /// The slot; `None` for a session token, which names none.
    pub name: Option<TokenName>,
    /// The public id of the workspace token: its own, or that of the one it was got with.
    pub token_id: TokenId,
    /// The generation of that workspace token.
    pub generation: Generation,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires; `None` for a workspace token, which never does.
    pub expires_at: Option<Timestamp>,
}

impl TokenLook {
    /// The characters between [`start`](Self::start) and [`end`](Self::end): the id of the key, with its
    /// opening quote.
    pub const KEY_ID_LENGTH: usize = Header::KEY_ID_END - Header::KEY_ID_AT;

    /// The characters of a signature.
    pub const SIGNATURE_LENGTH: usize = SIGNATURE_LENGTH;

    /// Returns the look of each kind of token that there is.
    pub fn all() -> impl Iterator<Item = Self> {
        iter::successors(Some(TokenKind::Workspace), |kind| next_kind(*kind)).map(|kind| Self {
            kind,
            header: Header::of_any_key(kind),
        })
    }

    /// Returns the `typ` of the header (RFC 8725 §3.11).
    pub fn typ(&self) -> &'static str {
        self.kind.typ()
    }

    /// Returns whether such a token is a credential until it is rotated or revoked. All others expire.
    pub fn is_long_lived(&self) -> bool {
        self.kind == TokenKind::Workspace
    }

    /// Returns what stands before the id of the key; the same for all kinds.
    pub fn start(&self) -> &str {
        &self.header.as_str()[..Header::KEY_ID_AT]
    }

    /// Returns what stands between the id of the key and the payload, the dot included.
    pub fn end(&self) -> &str {
        &self.header.as_str()[Header::KEY_ID_END..]
    }

    /// Returns what `token` says of itself; `None` if it is none of this kind, or says it in another way
    /// than this library writes it.
    pub fn unchecked_claims(&self, token: &[u8]) -> Option<UncheckedClaims> {
        if token.len() > MAX_TOKEN_LENGTH || !self.header.frames(token) {
            return None;
        }
        let payload = token[self.header.as_str().len()..]
            .split(|byte| *byte == b'.')
            .next()?;
        let json = URL_SAFE_NO_PAD.decode(payload).ok()?;
        UncheckedClaims::read(self.kind, &Payload(Zeroizing::new(json)))
    }
}

impl UncheckedClaims {
    fn read(kind: TokenKind, payload: &Payload) -> Option<Self> {
        Some(match kind {
            TokenKind::Access => {
                let claims = AccessClaims::from_payload(payload).ok()?;
                Self {
                    workspace: claims.workspace,
                    name: Some(claims.name),
                    token_id: claims.token_id,
                    generation: claims.generation,
                    issued_at: claims.issued_at,
                    expires_at: Some(claims.expires_at),
                }
            }
            TokenKind::Session => {
                let claims = SessionClaims::from_payload(payload).ok()?;
                Self {
                    workspace: claims.workspace,
                    name: None,
                    token_id: claims.token_id,
                    generation: claims.generation,
                    issued_at: claims.issued_at,
                    expires_at: Some(claims.expires_at),
                }
            }
            TokenKind::Workspace => {
                let claims = WorkspaceClaims::from_payload(payload).ok()?;
                Self {
                    workspace: claims.workspace,
                    name: Some(claims.name),
                    token_id: claims.secret.token_id(),
                    generation: claims.generation,
                    issued_at: claims.issued_at,
                    expires_at: None,
                }
            }
        })
    }
}

/// Goes from kind to kind. A match, so that a new kind is not forgotten.
fn next_kind(kind: TokenKind) -> Option<TokenKind> {
    match kind {
        TokenKind::Workspace => Some(TokenKind::Session),
        TokenKind::Session => Some(TokenKind::Access),
        TokenKind::Access => None,
    }
}

impl Header {
    /// Writes the header of a kind with some key's id in it.
    fn of_any_key(kind: TokenKind) -> Self {
        Self::new(kind, &KeyId::from_digest(&[0; 5]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: &str = include_str!("../../tests/vectors/workspace-token-v1.jwt");

    fn look(typ: &str) -> TokenLook {
        TokenLook::all().find(|look| look.typ() == typ).unwrap()
    }

    #[test]
    fn every_header_looks_as_is_said() {
        for look in TokenLook::all() {
            for id in ["aaaaaaaa", "z7z7z7z7", "q4tytic2"] {
                let header = Header::new(look.kind, &id.parse().unwrap());
                let rest = header.as_str().strip_prefix(look.start()).unwrap();
                let (id, end) = rest.split_at(TokenLook::KEY_ID_LENGTH);
                assert_eq!(end, look.end());
                assert!(
                    id.bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                );
            }
        }
    }

    #[test]
    fn kinds_are_told_apart_by_what_follows_the_key() {
        let ends: Vec<_> = TokenLook::all().map(|look| look.end().to_owned()).collect();
        for (index, end) in ends.iter().enumerate() {
            assert!(end.ends_with('.'));
            assert!(!ends[..index].contains(end));
        }
        let starts: Vec<_> = TokenLook::all()
            .map(|look| look.start().to_owned())
            .collect();
        assert!(starts.iter().all(|start| *start == starts[0]));
    }

    #[test]
    fn reads_what_a_workspace_token_says() {
        let claims = look("workspace+jwt")
            .unchecked_claims(VECTOR.trim().as_bytes())
            .unwrap();
        assert_eq!(claims.workspace.as_str(), "acme");
        assert_eq!(claims.name, Some(TokenName::primary()));
        assert_eq!(claims.token_id.as_str(), "3oy2citvl2y6adnw");
        assert_eq!(claims.expires_at, None);
        assert!(look("workspace+jwt").is_long_lived());
    }

    #[test]
    fn reads_what_an_access_token_says() {
        let access = look("workspace-access+jwt");
        let vector = include_str!("../../tests/vectors/access-token-v1.jwt").trim();
        let claims = access.unchecked_claims(vector.as_bytes()).unwrap();
        assert_eq!(claims.workspace.as_str(), "acme");
        assert_eq!(claims.name, Some(TokenName::primary()));
        assert_eq!(claims.token_id.as_str(), "3oy2citvl2y6adnw");
        assert_eq!(claims.generation, Generation::FIRST);
        assert_eq!(claims.issued_at, Timestamp::from_secs(1_700_000_000));
        assert_eq!(claims.expires_at, Some(Timestamp::from_secs(1_700_000_900)));
        assert!(!access.is_long_lived());
        assert!(access.unchecked_claims(VECTOR.trim().as_bytes()).is_none());
    }

    #[test]
    fn reads_what_a_session_token_says() {
        let session = look("mcp-session+jwt");
        let json = r#"{"aud":"acme","exp":20,"gen":3,"iat":10,"sid":"AAAAAAAAAAAAAAAAAAAAAA","tid":"3oy2citvl2y6adnw"}"#;
        let token = format!(
            "{}{}.signature",
            session.header.as_str(),
            URL_SAFE_NO_PAD.encode(json)
        );
        let claims = session.unchecked_claims(token.as_bytes()).unwrap();
        assert_eq!(claims.expires_at, Some(Timestamp::from_secs(20)));
        assert_eq!(claims.name, None);
        assert!(!session.is_long_lived());
        assert!(
            look("workspace+jwt")
                .unchecked_claims(token.as_bytes())
                .is_none()
        );
    }

    #[test]
    fn says_nothing_of_what_was_written_otherwise() {
        let workspace = look("workspace+jwt");
        let vector = VECTOR.trim();
        let header = workspace.header.as_str().len();
        for token in [
            "",
            "eyJ",
            &vector[1..],
            &vector[..header],
            &vector[..header + 20],
            &vector.replace('.', ""),
            &format!("{}{}", &vector[..header], "x".repeat(MAX_TOKEN_LENGTH)),
        ] {
            assert!(workspace.unchecked_claims(token.as_bytes()).is_none());
        }
    }
}
