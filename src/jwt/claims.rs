//! The claims of each kind of token: written in one way only, read strictly.
//!
//! Members stand in alphabetical order without white space. Unknown, doubled, missing and
//! wrong-typed members are refused; a text with an escape is too, since none of ours has one.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::Payload;
use crate::{
    cipher::{CipherError, random},
    clock::Timestamp,
    id::{Generation, TokenId, TokenName, WorkspaceId},
};

/// The characters of 128 bits in base64url.
const SECRET_LENGTH: usize = 22;

/// What an MCP token says.
#[derive(Debug)]
pub(crate) struct WorkspaceClaims {
    /// `aud`, RFC 7519 §4.1.3.
    pub(crate) workspace: WorkspaceId,
    /// `gen`.
    pub(crate) generation: Generation,
    /// `iat`, RFC 7519 §4.1.6. Never compared with a clock: one set back would lock everybody out.
    pub(crate) issued_at: Timestamp,
    /// What `jti` gives away (RFC 7519 §4.1.7).
    pub(crate) token_id: TokenId,
    /// `sub`, RFC 7519 §4.1.2.
    pub(crate) name: TokenName,
}

/// What a session token says.
#[derive(Debug)]
pub(crate) struct SessionClaims {
    /// `aud`.
    pub(crate) workspace: WorkspaceId,
    /// `exp`, RFC 7519 §4.1.4.
    pub(crate) expires_at: Timestamp,
    /// `gen`: the generation of the MCP token that the session was opened with.
    pub(crate) generation: Generation,
    /// `iat`.
    pub(crate) issued_at: Timestamp,
    /// `sid`.
    pub(crate) session_id: SessionId,
    /// `tid`: the public id of that MCP token.
    pub(crate) token_id: TokenId,
}

/// The secret of one MCP token, its `jti`: 128 random bits that exist nowhere else.
pub(crate) struct TokenSecret(Zeroizing<String>);

/// Names a session: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId([u8; SECRET_LENGTH]);

/// Claims that are not as this library writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidClaims;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWorkspaceClaims<'a> {
    aud: &'a str,
    r#gen: u64,
    iat: u64,
    jti: &'a str,
    sub: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSessionClaims<'a> {
    aud: &'a str,
    exp: u64,
    r#gen: u64,
    iat: u64,
    sid: &'a str,
    tid: &'a str,
}

impl WorkspaceClaims {
    /// Writes the claims with the secret that `token_id` was derived from.
    pub(crate) fn to_json(&self, secret: &TokenSecret) -> Zeroizing<String> {
        // Longer than any claims can get, so that no growth leaves a copy behind.
        let mut json = Zeroizing::new(String::with_capacity(256));
        write_json(
            &mut json,
            format_args!(
                r#"{{"aud":"{}","gen":{},"iat":{},"jti":"{}","sub":"{}"}}"#,
                self.workspace,
                self.generation,
                self.issued_at.as_secs(),
                &*secret.0,
                self.name,
            ),
        );
        json
    }

    pub(crate) fn from_payload(payload: &Payload) -> Result<Self, InvalidClaims> {
        let raw: RawWorkspaceClaims<'_> = parse(payload)?;
        Ok(Self {
            workspace: raw.aud.parse().map_err(|_| InvalidClaims)?,
            generation: Generation::from_number(raw.r#gen).ok_or(InvalidClaims)?,
            issued_at: Timestamp::from_secs(raw.iat),
            token_id: token_id(secret_text(raw.jti)?),
            name: raw.sub.parse().map_err(|_| InvalidClaims)?,
        })
    }
}

impl SessionClaims {
    pub(crate) fn to_json(&self) -> Zeroizing<String> {
        let mut json = Zeroizing::new(String::with_capacity(256));
        write_json(
            &mut json,
            format_args!(
                r#"{{"aud":"{}","exp":{},"gen":{},"iat":{},"sid":"{}","tid":"{}"}}"#,
                self.workspace,
                self.expires_at.as_secs(),
                self.generation,
                self.issued_at.as_secs(),
                self.session_id.as_str(),
                self.token_id,
            ),
        );
        json
    }

    pub(crate) fn from_payload(payload: &Payload) -> Result<Self, InvalidClaims> {
        let raw: RawSessionClaims<'_> = parse(payload)?;
        Ok(Self {
            workspace: raw.aud.parse().map_err(|_| InvalidClaims)?,
            expires_at: Timestamp::from_secs(raw.exp),
            generation: Generation::from_number(raw.r#gen).ok_or(InvalidClaims)?,
            issued_at: Timestamp::from_secs(raw.iat),
            session_id: SessionId(*secret_text(raw.sid)?),
            token_id: raw.tid.parse().map_err(|_| InvalidClaims)?,
        })
    }
}

impl TokenSecret {
    pub(crate) fn generate() -> Result<Self, CipherError> {
        let mut bits = Zeroizing::new([0; 16]);
        random::fill(&mut *bits)?;
        let mut text = Zeroizing::new(String::with_capacity(SECRET_LENGTH + 2));
        URL_SAFE_NO_PAD.encode_string(*bits, &mut text);
        Ok(Self(text))
    }

    /// Returns the public id: the first 80 bits of SHA-256("token-id" ‖ `jti`), which lead back to nothing.
    pub(crate) fn token_id(&self) -> TokenId {
        token_id(
            self.0
                .as_bytes()
                .try_into()
                .expect("128 bits are 22 characters"),
        )
    }
}

impl SessionId {
    pub(crate) fn generate() -> Result<Self, CipherError> {
        let mut bits = [0; 16];
        random::fill(&mut bits)?;
        let mut text = [0; SECRET_LENGTH];
        URL_SAFE_NO_PAD
            .encode_slice(bits, &mut text)
            .expect("128 bits are 22 characters");
        Ok(Self(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64url is ASCII")
    }
}

fn token_id(secret: &[u8; SECRET_LENGTH]) -> TokenId {
    let digest = Sha256::new()
        .chain_update(b"token-id")
        .chain_update(secret)
        .finalize();
    TokenId::from_digest(digest.first_chunk().expect("SHA-256 gives 32 bytes"))
}

fn secret_text(text: &str) -> Result<&[u8; SECRET_LENGTH], InvalidClaims> {
    text.as_bytes().try_into().map_err(|_| InvalidClaims)
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a Payload) -> Result<T, InvalidClaims> {
    let json = payload.as_json();
    // serde reads a structure from a list of its values as well, which is not as we write it.
    if !json.starts_with(b"{") {
        return Err(InvalidClaims);
    }
    serde_json::from_slice(json).map_err(|_| InvalidClaims)
}

fn write_json(json: &mut String, claims: fmt::Arguments<'_>) {
    fmt::Write::write_fmt(json, claims).expect("writing to a string does not fail");
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSecret").finish_non_exhaustive()
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionId").finish_non_exhaustive()
    }
}

impl fmt::Display for InvalidClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the claims are not as this library writes them")
    }
}

impl std::error::Error for InvalidClaims {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<WorkspaceClaims, InvalidClaims> {
        WorkspaceClaims::from_payload(&Payload(Zeroizing::new(json.as_bytes().to_vec())))
    }

    #[test]
    fn reads_what_it_writes() {
        let secret = TokenSecret::generate().unwrap();
        let claims = WorkspaceClaims {
            workspace: "acme".parse().unwrap(),
            generation: Generation::MAX,
            issued_at: Timestamp::from_secs(1_700_000_000),
            token_id: secret.token_id(),
            name: TokenName::primary(),
        };
        let read = read(&claims.to_json(&secret)).unwrap();
        assert_eq!(format!("{read:?}"), format!("{claims:?}"));
    }

    #[test]
    fn the_longest_claims_fit_the_buffer() {
        let longest = "z".repeat(63);
        let secret = TokenSecret::generate().unwrap();
        let claims = WorkspaceClaims {
            workspace: longest.parse().unwrap(),
            generation: Generation::MAX,
            issued_at: Timestamp::from_millis(u64::MAX),
            token_id: secret.token_id(),
            name: longest.parse().unwrap(),
        };
        assert_eq!(claims.to_json(&secret).capacity(), 256);
    }

    #[test]
    fn refuses_claims_that_are_not_as_we_write_them() {
        let jti = "AAAAAAAAAAAAAAAAAAAAAA";
        let good = format!(r#"{{"aud":"acme","gen":1,"iat":1,"jti":"{jti}","sub":"primary"}}"#);
        assert!(read(&good).is_ok());
        let cases = [
            ("an audience list", good.replace(r#""acme""#, r#"["acme"]"#)),
            ("an empty audience", good.replace("acme", "")),
            (
                "an audience with an escape",
                good.replace("acme", r"\u0061cme"),
            ),
            ("no audience", good.replace(r#""aud":"acme","#, "")),
            (
                "a doubled audience",
                good.replace(r#""aud""#, r#""aud":"acme","aud""#),
            ),
            (
                "an unknown member",
                good.replace(r#""aud""#, r#""exp":1,"aud""#),
            ),
            (
                "a member in another case",
                good.replace(r#""aud""#, r#""AUD""#),
            ),
            ("generation 0", good.replace(r#""gen":1"#, r#""gen":0"#)),
            (
                "a negative generation",
                good.replace(r#""gen":1"#, r#""gen":-1"#),
            ),
            (
                "a fractional generation",
                good.replace(r#""gen":1"#, r#""gen":1.0"#),
            ),
            (
                "a generation with an exponent",
                good.replace(r#""gen":1"#, r#""gen":1e0"#),
            ),
            (
                "a generation as text",
                good.replace(r#""gen":1"#, r#""gen":"1""#),
            ),
            (
                "a generation past the end",
                good.replace(r#""gen":1"#, r#""gen":9223372036854775808"#),
            ),
            ("a null jti", good.replace(&format!("\"{jti}\""), "null")),
            ("a short jti", good.replace(jti, "AAAA")),
            ("a null slot", good.replace(r#""primary""#, "null")),
            ("something behind", format!("{good} {{}}")),
            ("a list", String::from("[]")),
            (
                "the values alone",
                format!(r#"["acme",1,1,"{jti}","primary"]"#),
            ),
            ("nothing", String::new()),
        ];
        for (name, json) in cases {
            assert_ne!(json, good, "{name} changes nothing");
            assert!(read(&json).is_err(), "{name}: {json}");
        }
    }

    /// The vector of `docs/token-format.md`, which another implementation computed.
    #[test]
    fn mints_the_documented_vector() {
        use crate::{
            cipher::KeyRing,
            jwt::{Codec, SigningKey, TokenKind},
        };
        use secrecy::{ExposeSecret as _, SecretBox};

        let secret = TokenSecret(Zeroizing::new("A".repeat(SECRET_LENGTH)));
        let claims = WorkspaceClaims {
            workspace: "acme".parse().unwrap(),
            generation: Generation::FIRST,
            issued_at: Timestamp::from_secs(1_700_000_000),
            token_id: secret.token_id(),
            name: TokenName::primary(),
        };
        let key = SigningKey::from_bytes(SecretBox::init_with(|| [1; 32]));
        let token =
            Codec::new(TokenKind::Workspace, &KeyRing::new(key)).mint(&claims.to_json(&secret));
        let vector = include_str!("../../tests/vectors/workspace-token-v1.jwt");
        assert_eq!(token.expose_secret(), vector.trim());
    }

    #[test]
    fn the_token_id_is_the_documented_digest() {
        // printf 'token-idAAAAAAAAAAAAAAAAAAAAAA' | sha256sum, first 80 bits, in base32
        let id = token_id(b"AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(id.as_str(), "3oy2citvl2y6adnw");
    }
}
