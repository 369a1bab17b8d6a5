//! The claims of each kind of token: written in one way only, and read in that way only.
//!
//! Members stand in alphabetical order without white space, escapes and leading zeros. Whatever else JSON
//! could mean the same by is refused, so that what was read, written again, is what was read.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{MacKey, Payload, key};
use crate::{
    cipher::{CipherError, equal_in_constant_time, random},
    clock::Timestamp,
    id::{Generation, SlotKey, TokenId, TokenName, WorkspaceId},
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
    /// `jti`, RFC 7519 §4.1.7.
    pub(crate) secret: TokenSecret,
    /// `sub`, RFC 7519 §4.1.2.
    pub(crate) name: TokenName,
}

/// What an access token says.
#[derive(Debug)]
pub(crate) struct AccessClaims {
    /// `aud`.
    pub(crate) workspace: WorkspaceId,
    /// `exp`.
    pub(crate) expires_at: Timestamp,
    /// `gen`: the generation of the MCP token that it was exchanged for.
    pub(crate) generation: Generation,
    /// `iat`.
    pub(crate) issued_at: Timestamp,
    /// `prf`: that whoever minted it had that MCP token at hand.
    proof: AccessProof,
    /// `sub`.
    pub(crate) name: TokenName,
    /// `tid`: the public id of that MCP token.
    pub(crate) token_id: TokenId,
}

/// The key under which access tokens prove which MCP token they come from.
///
/// It is derived from the SHA-256 of that token's signature, which is known to who holds the token, or can open its
/// row: all else that an access token says is no secret, and a signing key alone must open nothing.
pub(crate) struct ParentKey(MacKey);

/// The first 128 bits of a MAC under the [`ParentKey`], in base64url.
struct AccessProof(Zeroizing<[u8; SECRET_LENGTH]>);

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
pub(crate) struct TokenSecret(Zeroizing<[u8; SECRET_LENGTH]>);

/// Names a session: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId([u8; SECRET_LENGTH]);

/// Claims that are not as this library writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidClaims;

/// What is left to read of claims.
struct Reader<'a>(&'a [u8]);

impl WorkspaceClaims {
    pub(crate) fn to_json(&self) -> Zeroizing<String> {
        // Longer than any claims can get, so that no growth leaves a copy behind.
        let mut json = Zeroizing::new(String::with_capacity(256));
        write_json(
            &mut json,
            format_args!(
                r#"{{"aud":"{}","gen":{},"iat":{},"jti":"{}","sub":"{}"}}"#,
                self.workspace,
                self.generation,
                self.issued_at.as_secs(),
                self.secret.as_str(),
                self.name,
            ),
        );
        json
    }

    pub(crate) fn from_payload(payload: &Payload) -> Result<Self, InvalidClaims> {
        let mut reader = Reader(payload.as_json());
        let claims = Self {
            workspace: reader
                .text(br#"{"aud":""#)?
                .parse()
                .map_err(|_| InvalidClaims)?,
            generation: reader.generation(br#"","gen":"#)?,
            issued_at: reader.timestamp(br#","iat":"#)?,
            secret: TokenSecret(Zeroizing::new(reader.secret(br#","jti":""#)?)),
            name: reader
                .text(br#"","sub":""#)?
                .parse()
                .map_err(|_| InvalidClaims)?,
        };
        reader.end(br#""}"#)?;
        Ok(claims)
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
        let mut reader = Reader(payload.as_json());
        let claims = Self {
            workspace: reader
                .text(br#"{"aud":""#)?
                .parse()
                .map_err(|_| InvalidClaims)?,
            expires_at: reader.timestamp(br#"","exp":"#)?,
            generation: reader.generation(br#","gen":"#)?,
            issued_at: reader.timestamp(br#","iat":"#)?,
            session_id: SessionId(reader.secret(br#","sid":""#)?),
            token_id: reader
                .text(br#"","tid":""#)?
                .parse()
                .map_err(|_| InvalidClaims)?,
        };
        reader.end(br#""}"#)?;
        Ok(claims)
    }
}

impl AccessClaims {
    /// Makes the claims of an access token that comes from the MCP token of `parent`.
    pub(crate) fn new(
        key: &SlotKey,
        token_id: TokenId,
        generation: Generation,
        [issued_at, expires_at]: [Timestamp; 2],
        parent: &ParentKey,
    ) -> Self {
        let mut claims = Self {
            workspace: key.workspace,
            expires_at,
            generation,
            issued_at,
            proof: AccessProof(Zeroizing::new([b'A'; SECRET_LENGTH])),
            name: key.name,
            token_id,
        };
        claims.proof = claims.proof_under(parent);
        claims
    }

    /// Returns whether whoever minted these claims had the MCP token of `parent`; takes as long wherever they differ.
    pub(crate) fn are_proven_by(&self, parent: &ParentKey) -> bool {
        equal_in_constant_time(&*self.proof.0, &*self.proof_under(parent).0)
    }

    fn proof_under(&self, parent: &ParentKey) -> AccessProof {
        let mut mac = Zeroizing::new([0; 32]);
        parent.0.sign(self.write("").as_bytes(), &mut mac);
        let mut text = Zeroizing::new([0; SECRET_LENGTH]);
        URL_SAFE_NO_PAD
            .encode_slice(&mac[..16], &mut *text)
            .expect("128 bits are 22 characters");
        AccessProof(text)
    }

    pub(crate) fn to_json(&self) -> Zeroizing<String> {
        self.write(self.proof.as_str())
    }

    /// Writes the claims; the proof is over what is written with an empty one.
    fn write(&self, proof: &str) -> Zeroizing<String> {
        let mut json = Zeroizing::new(String::with_capacity(320));
        write_json(
            &mut json,
            format_args!(
                r#"{{"aud":"{}","exp":{},"gen":{},"iat":{},"prf":"{proof}","sub":"{}","tid":"{}"}}"#,
                self.workspace,
                self.expires_at.as_secs(),
                self.generation,
                self.issued_at.as_secs(),
                self.name,
                self.token_id,
            ),
        );
        json
    }

    pub(crate) fn from_payload(payload: &Payload) -> Result<Self, InvalidClaims> {
        let mut reader = Reader(payload.as_json());
        let claims = Self {
            workspace: reader
                .text(br#"{"aud":""#)?
                .parse()
                .map_err(|_| InvalidClaims)?,
            expires_at: reader.timestamp(br#"","exp":"#)?,
            generation: reader.generation(br#","gen":"#)?,
            issued_at: reader.timestamp(br#","iat":"#)?,
            proof: AccessProof(Zeroizing::new(reader.secret(br#","prf":""#)?)),
            name: reader
                .text(br#"","sub":""#)?
                .parse()
                .map_err(|_| InvalidClaims)?,
            token_id: reader
                .text(br#"","tid":""#)?
                .parse()
                .map_err(|_| InvalidClaims)?,
        };
        reader.end(br#""}"#)?;
        Ok(claims)
    }

    pub(crate) fn key(&self) -> SlotKey {
        SlotKey::new(self.workspace, self.name)
    }
}

impl ParentKey {
    /// Derives the key from the [`signature_digest`](super::signature_digest) of an MCP token.
    pub(crate) fn of(signature_digest: &[u8; 32]) -> Self {
        let label = b"tower-workspace-token v1 parent of workspace-access+jwt";
        Self(key::derive(signature_digest, label))
    }
}

impl AccessProof {
    fn as_str(&self) -> &str {
        str::from_utf8(&*self.0).expect("base64url is ASCII")
    }
}

impl<'a> Reader<'a> {
    /// Reads a text of identifier characters behind `before`, up to the quote.
    fn text(&mut self, before: &[u8]) -> Result<&'a str, InvalidClaims> {
        self.skip(before)?;
        let end = memchr::memchr(b'"', self.0).ok_or(InvalidClaims)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest;
        str::from_utf8(text).map_err(|_| InvalidClaims)
    }

    /// Reads 128 bits in base64url behind `before`.
    fn secret(&mut self, before: &[u8]) -> Result<[u8; SECRET_LENGTH], InvalidClaims> {
        self.skip(before)?;
        let (secret, rest) = self.0.split_first_chunk().ok_or(InvalidClaims)?;
        self.0 = rest;
        // Without a way out in between, so that many bytes are looked at together.
        let is_base64url = secret.iter().fold(true, |is_so_far, byte| {
            is_so_far & (byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'_'))
        });
        is_base64url.then_some(*secret).ok_or(InvalidClaims)
    }

    fn generation(&mut self, before: &[u8]) -> Result<Generation, InvalidClaims> {
        Generation::from_number(self.number(before)?).ok_or(InvalidClaims)
    }

    fn timestamp(&mut self, before: &[u8]) -> Result<Timestamp, InvalidClaims> {
        let seconds = self.number(before)?;
        let timestamp = Timestamp::from_secs(seconds);
        // Beyond the end of time it would be read as another one.
        (timestamp.as_secs() == seconds)
            .then_some(timestamp)
            .ok_or(InvalidClaims)
    }

    /// Reads a number behind `before` as a counting loop would: no sign, no leading zero, no overflow.
    fn number(&mut self, before: &[u8]) -> Result<u64, InvalidClaims> {
        self.skip(before)?;
        let length = self
            .0
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        if digits.is_empty() || (digits[0] == b'0' && length > 1) {
            return Err(InvalidClaims);
        }
        let number = digits.iter().try_fold(0_u64, |number, digit| {
            number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        });
        number.ok_or(InvalidClaims)
    }

    fn skip(&mut self, expected: &[u8]) -> Result<(), InvalidClaims> {
        self.0 = self.0.strip_prefix(expected).ok_or(InvalidClaims)?;
        Ok(())
    }

    fn end(self, expected: &[u8]) -> Result<(), InvalidClaims> {
        (self.0 == expected).then_some(()).ok_or(InvalidClaims)
    }
}

impl TokenSecret {
    pub(crate) fn generate() -> Result<Self, CipherError> {
        let mut bits = Zeroizing::new([0; 16]);
        random::fill(&mut *bits)?;
        let mut text = Zeroizing::new([0; SECRET_LENGTH]);
        URL_SAFE_NO_PAD
            .encode_slice(*bits, &mut *text)
            .expect("128 bits are 22 characters");
        Ok(Self(text))
    }

    /// Returns the public id: the first 80 bits of SHA-256("token-id" ‖ `jti`), which lead back to nothing.
    pub(crate) fn token_id(&self) -> TokenId {
        let digest = Sha256::new()
            .chain_update(b"token-id")
            .chain_update(*self.0)
            .finalize();
        TokenId::from_digest(digest.first_chunk().expect("SHA-256 gives 32 bytes"))
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&*self.0).expect("base64url is ASCII")
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
        str::from_utf8(&self.0).expect("base64url is ASCII")
    }
}

fn write_json(json: &mut String, claims: fmt::Arguments<'_>) {
    fmt::Write::write_fmt(json, claims).expect("writing to a string does not fail");
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSecret").finish_non_exhaustive()
    }
}

impl fmt::Debug for ParentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParentKey").finish_non_exhaustive()
    }
}

impl fmt::Debug for AccessProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessProof").finish_non_exhaustive()
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
        let claims = WorkspaceClaims {
            workspace: "acme".parse().unwrap(),
            generation: Generation::MAX,
            issued_at: Timestamp::from_secs(1_700_000_000),
            secret: TokenSecret::generate().unwrap(),
            name: TokenName::primary(),
        };
        let read = read(&claims.to_json()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{claims:?}"));
        assert_eq!(read.secret.token_id(), claims.secret.token_id());
    }

    #[test]
    fn the_longest_claims_fit_the_buffer() {
        let longest = "z".repeat(63);
        let claims = WorkspaceClaims {
            workspace: longest.parse().unwrap(),
            generation: Generation::MAX,
            issued_at: Timestamp::from_millis(u64::MAX),
            secret: TokenSecret::generate().unwrap(),
            name: longest.parse().unwrap(),
        };
        assert_eq!(claims.to_json().capacity(), 256);
    }

    fn read_access(json: &str) -> Result<AccessClaims, InvalidClaims> {
        AccessClaims::from_payload(&Payload(Zeroizing::new(json.as_bytes().to_vec())))
    }

    fn access(name: &str, times: [Timestamp; 2], generation: Generation) -> AccessClaims {
        let key = SlotKey::new(name.parse().unwrap(), name.parse().unwrap());
        let parent = ParentKey::of(&[7; 32]);
        AccessClaims::new(
            &key,
            TokenId::from_digest(&[9; 10]),
            generation,
            times,
            &parent,
        )
    }

    #[test]
    fn the_longest_claims_of_an_access_token_are_read_as_written_and_fit_the_buffer() {
        let end = Timestamp::from_secs(u64::MAX / 1000);
        let claims = access(&"z".repeat(63), [end, end], Generation::MAX);
        assert_eq!(claims.to_json().capacity(), 320);
        let read = read_access(&claims.to_json()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{claims:?}"));
        assert_eq!(*read.to_json(), *claims.to_json());
        assert!(read.are_proven_by(&ParentKey::of(&[7; 32])));
    }

    /// The MAC of the kind is another matter: this one holds against who has the signing key.
    #[test]
    fn an_access_token_is_proven_by_its_parent_alone_and_in_every_claim() {
        let times = [100, 200].map(Timestamp::from_secs);
        let claims = access("acme", times, Generation::FIRST);
        let json = claims.to_json();
        let parent = ParentKey::of(&[7; 32]);
        assert!(claims.are_proven_by(&parent));
        assert!(!claims.are_proven_by(&ParentKey::of(&[8; 32])));
        for (from, to) in [
            (r#""aud":"acme""#, r#""aud":"acmf""#),
            (r#""exp":200"#, r#""exp":201"#),
            (r#""gen":1"#, r#""gen":2"#),
            (r#""iat":100"#, r#""iat":101"#),
            (r#""sub":"acme""#, r#""sub":"acmf""#),
            (r#""tid":"b"#, r#""tid":"c"#),
        ] {
            let changed = json.replacen(from, to, 1);
            assert_ne!(changed, **json, "{from} is not in {}", *json);
            assert!(
                !read_access(&changed).unwrap().are_proven_by(&parent),
                "{to}"
            );
        }
        let proof = claims.proof.as_str();
        for position in 0..SECRET_LENGTH {
            let mut other = proof.as_bytes().to_vec();
            other[position] = if other[position] == b'A' { b'B' } else { b'A' };
            let changed = json.replace(proof, str::from_utf8(&other).unwrap());
            assert!(!read_access(&changed).unwrap().are_proven_by(&parent));
        }
    }

    #[test]
    fn refuses_claims_of_an_access_token_that_are_not_as_we_write_them() {
        let times = [100, 200].map(Timestamp::from_secs);
        let good = access("acme", times, Generation::FIRST).to_json();
        for (name, from, to) in [
            ("no expiry", r#""exp":200,"#, ""),
            ("an expiry as text", r#""exp":200"#, r#""exp":"200""#),
            ("an expiry of null", r#""exp":200"#, r#""exp":null"#),
            ("a fractional expiry", r#""exp":200"#, r#""exp":200.5"#),
            ("a negative expiry", r#""exp":200"#, r#""exp":-200"#),
            ("a doubled expiry", r#""exp":200"#, r#""exp":200,"exp":999"#),
            ("an unknown member", r#""gen""#, r#""foo":1,"gen""#),
            ("an audience list", r#""acme","exp""#, r#"["acme"],"exp""#),
            (
                "another order",
                r#""gen":1,"iat":100"#,
                r#""iat":100,"gen":1"#,
            ),
            ("no proof", r#""prf""#, r#""jti""#),
            ("a space", r#","sub""#, r#", "sub""#),
        ] {
            let changed = good.replacen(from, to, 1);
            assert_ne!(changed, **good, "{name} changes nothing");
            assert!(read_access(&changed).is_err(), "{name}: {changed}");
        }
        assert!(read_access(&good).is_ok());
    }

    #[test]
    fn a_number_may_be_a_zero_and_nothing_behind_one() {
        let claims = |issued_at: &str| {
            let jti = "AAAAAAAAAAAAAAAAAAAAAA";
            read(&format!(
                r#"{{"aud":"acme","gen":1,"iat":{issued_at},"jti":"{jti}","sub":"primary"}}"#
            ))
        };
        assert_eq!(claims("0").unwrap().issued_at, Timestamp::from_secs(0));
        assert!(claims("00").is_err() && claims("01").is_err() && claims("").is_err());
    }

    /// However many are wrong: an even number of them must not come out as right.
    #[test]
    fn every_character_of_a_secret_is_of_the_alphabet() {
        for wrong in 1..=SECRET_LENGTH {
            let jti = [".".repeat(wrong), "A".repeat(SECRET_LENGTH - wrong)].concat();
            let json = format!(r#"{{"aud":"acme","gen":1,"iat":1,"jti":"{jti}","sub":"primary"}}"#);
            assert!(read(&json).is_err(), "{jti}");
        }
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
            ("a leading zero", good.replace(r#""iat":1"#, r#""iat":01"#)),
            (
                "an iat past the end",
                good.replace(r#""iat":1"#, r#""iat":18446744073709551616"#),
            ),
            (
                "an iat past the end of time",
                good.replace(r#""iat":1"#, r#""iat":18446744073709552"#),
            ),
            ("a space", good.replace(":1,", ": 1,")),
            (
                "another order",
                good.replace(r#""gen":1,"iat":1"#, r#""iat":1,"gen":1"#),
            ),
            (
                "a jti with a quote",
                good.replace(jti, &jti.replacen('A', "\"", 1)),
            ),
            (
                "a jti that is not base64url",
                good.replace(jti, &jti.replacen('A', "+", 1)),
            ),
            ("a space in front", format!(" {good}")),
            ("a line break behind", format!("{good}\n")),
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

        let claims = WorkspaceClaims {
            workspace: "acme".parse().unwrap(),
            generation: Generation::FIRST,
            issued_at: Timestamp::from_secs(1_700_000_000),
            secret: TokenSecret(Zeroizing::new([b'A'; SECRET_LENGTH])),
            name: TokenName::primary(),
        };
        let key = SigningKey::from_bytes(SecretBox::init_with(|| [1; 32]));
        let token = Codec::new(TokenKind::Workspace, &KeyRing::new(key)).mint(&claims.to_json());
        let vector = include_str!("../../tests/vectors/workspace-token-v1.jwt");
        assert_eq!(token.expose_secret(), vector.trim());
    }

    #[test]
    fn the_token_id_is_the_documented_digest() {
        // printf 'token-idAAAAAAAAAAAAAAAAAAAAAA' | sha256sum, first 80 bits, in base32
        let secret = TokenSecret(Zeroizing::new([b'A'; SECRET_LENGTH]));
        assert_eq!(secret.token_id().as_str(), "3oy2citvl2y6adnw");
    }

    /// The other readings of JSON agree with what is read here, and there is one way to write it.
    #[test]
    fn whatever_is_read_is_json_and_is_written_in_that_very_way() {
        use proptest::prelude::*;
        let good = r#"{"aud":"acme","gen":7,"iat":1700000000,"jti":"AAAAAAAAAAAAAAAAAAAAAA","sub":"primary"}"#;
        let edits = (
            0..good.len(),
            0..3,
            prop::sample::select(b"a0-_\"\\ ,:{}[]9\n".to_vec()),
        );
        let edited = prop::collection::vec(edits, 0..3).prop_map(|edits| {
            let mut json = good.as_bytes().to_vec();
            for (position, edit, byte) in edits {
                match edit {
                    0 if position < json.len() => json[position] = byte,
                    1 if position < json.len() => drop(json.remove(position)),
                    _ => json.insert(position.min(json.len()), byte),
                }
            }
            String::from_utf8(json).unwrap()
        });
        proptest!(|(json in edited)| {
            if let Ok(claims) = read(&json) {
                prop_assert_eq!(&*claims.to_json(), &json);
                let value: serde_json::Value = serde_json::from_str(&json).unwrap();
                prop_assert_eq!(&value["aud"], claims.workspace.as_str());
                prop_assert_eq!(&value["gen"], claims.generation.number());
                prop_assert_eq!(&value["iat"], claims.issued_at.as_secs());
                prop_assert_eq!(&value["jti"], claims.secret.as_str());
                prop_assert_eq!(&value["sub"], claims.name.as_str());
            }
        });
    }
}
