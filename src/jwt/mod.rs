//! Minting and checking JWTs whose every byte is ours.
//!
//! Each token was minted here, so its header is one of a few known byte strings: a token must begin
//! with one of them exactly, and no JOSE header is ever parsed. Nothing of the payload is decoded
//! before its MAC is right. There is a MAC key per kind of token, so one kind never passes for another.

mod claims;
mod header;
mod key;
mod look;
mod mac;
mod tag;

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::{
    cipher::{self, KeyRing, RingKey as _},
    id::KeyId,
};

pub use claims::InvalidClaims;
pub(crate) use claims::{
    AccessClaims, ParentKey, SessionClaims, SessionId, TokenSecret, WorkspaceClaims,
};
use header::Header;
pub use key::SigningKey;
pub use look::{TokenLook, UncheckedClaims};
pub(crate) use mac::MacKey;
pub(crate) use tag::{TagKey, TokenTag};

/// The most bytes of a token that is looked at; ours have about 275.
pub const MAX_TOKEN_LENGTH: usize = 4096;

/// The characters of an HMAC-SHA256 in base64url.
const SIGNATURE_LENGTH: usize = 43;

/// The kinds of token, each with a `typ` (RFC 8725 §3.11) and a MAC key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Access,
    Session,
    Workspace,
}

impl TokenKind {
    fn typ(self) -> &'static str {
        match self {
            Self::Access => "workspace-access+jwt",
            Self::Session => "mcp-session+jwt",
            Self::Workspace => "workspace+jwt",
        }
    }

    fn mac_label(self) -> &'static [u8] {
        match self {
            Self::Access => b"tower-workspace-token v1 mac workspace-access+jwt",
            Self::Session => b"tower-workspace-token v1 mac mcp-session+jwt",
            Self::Workspace => b"tower-workspace-token v1 mac workspace+jwt",
        }
    }
}

/// Returns the SHA-256 of a token's signature, as it stands in the token.
pub(crate) fn signature_digest(token: &[u8]) -> [u8; 32] {
    let at = token.len().saturating_sub(SIGNATURE_LENGTH);
    cipher::sha256(&[&token[at..]])
}

/// Mints and opens the tokens of one kind.
#[derive(Debug)]
pub(crate) struct Codec {
    kind: TokenKind,
    /// The header with any key: those of one kind differ by the id of their key alone.
    frame: Header,
    /// The primary key first: the one that signs. Replaced as a whole, and never while a token is looked at.
    signers: RwLock<Vec<Signer>>,
}

#[derive(Debug)]
struct Signer {
    header: Header,
    mac: MacKey,
}

/// A token that was not minted here, or not as it is. Why, nobody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotOurs;

/// The claims of a token whose MAC is right, as JSON; wiped when dropped.
pub(crate) struct Payload(Zeroizing<Vec<u8>>);

impl Codec {
    pub(crate) fn new(kind: TokenKind, keys: &KeyRing<SigningKey>) -> Self {
        Self {
            kind,
            frame: Header::new(kind, &keys.primary().id()),
            signers: RwLock::new(signers(kind, keys)),
        }
    }

    /// Signs and verifies with `keys` from here on.
    pub(crate) fn replace_keys(&self, keys: &KeyRing<SigningKey>) {
        let replacement = signers(self.kind, keys);
        let mut signers = self.signers.write().unwrap_or_else(PoisonError::into_inner);
        *signers = replacement;
    }

    /// Signs `claims`, which are JSON, with the primary key.
    pub(crate) fn mint(&self, claims: &Zeroizing<String>) -> SecretString {
        let signers = self.signers();
        let signer = &signers[0];
        let header = signer.header.as_str().as_bytes();
        let payload_at = header.len();
        let payload_end = payload_at + (claims.len() * 4).div_ceil(3);
        // Sized exactly, so that neither growing nor shrinking leaves a copy behind, and written to in place:
        // base64 fills a string by way of a buffer of its own, which nobody wipes.
        let mut token = Zeroizing::new(vec![b'.'; payload_end + 1 + SIGNATURE_LENGTH]);
        token[..payload_at].copy_from_slice(header);
        encode(claims.as_bytes(), &mut token[payload_at..payload_end]);
        let mut mac = Zeroizing::new([0; 32]);
        signer.mac.sign(&token[..payload_end], &mut mac);
        encode(&*mac, &mut token[payload_end + 1..]);
        match String::from_utf8(std::mem::take(&mut *token)) {
            Ok(token) => SecretString::from(token),
            Err(_) => unreachable!("base64url and dots are ASCII"),
        }
    }

    /// Returns whether `token` begins as one of ours does, but for the id of its key: the cheap check,
    /// before anything else, without a lock.
    #[inline]
    pub(crate) fn begins_as_ours(&self, token: &[u8]) -> bool {
        token.len() <= MAX_TOKEN_LENGTH && self.frame.frames(token)
    }

    /// Checks size, header, shape and MAC, in this order, and only then decodes the payload.
    ///
    /// Of the payload's characters the MAC says all there is to say: we have signed none outside of the alphabet.
    pub(crate) fn open(&self, token: &[u8]) -> Result<Payload, NotOurs> {
        let payload = self.signed_payload(token)?;
        URL_SAFE_NO_PAD
            .decode(payload)
            .map(|json| Payload(Zeroizing::new(json)))
            .map_err(|_| NotOurs)
    }

    /// Returns whether a key of the ring has signed `token`.
    pub(crate) fn has_signed(&self, token: &[u8]) -> bool {
        self.signed_payload(token).is_ok()
    }

    /// Returns the payload as it was sent, once header and MAC are right.
    fn signed_payload<'t>(&self, token: &'t [u8]) -> Result<&'t [u8], NotOurs> {
        if token.len() > MAX_TOKEN_LENGTH {
            return Err(NotOurs);
        }
        let signers = self.signers();
        let signer = signer_of(&signers, token).ok_or(NotOurs)?;
        let (input, signature) = token
            .split_last_chunk::<SIGNATURE_LENGTH>()
            .ok_or(NotOurs)?;
        let input = input.strip_suffix(b".").ok_or(NotOurs)?;
        let payload = input.get(signer.header.as_str().len()..).ok_or(NotOurs)?;
        let mut mac = Zeroizing::new([0; 32]);
        // Strict about the last character's unused bits, so that a MAC has one spelling only.
        if URL_SAFE_NO_PAD.decode_slice_unchecked(signature, mac.as_mut_slice()) != Ok(32) {
            return Err(NotOurs);
        }
        let is_right = signer.mac.verifies(input, &mac);
        is_right.then_some(payload).ok_or(NotOurs)
    }

    /// Returns the keys that tokens of this kind verify with, the one that signs first.
    pub(crate) fn key_ids(&self) -> Vec<KeyId> {
        let signers = self.signers();
        signers
            .iter()
            .map(|signer| *signer.header.key_id())
            .collect()
    }

    /// Returns the key that `token` says it was signed with, if it is one of ours; the MAC is not looked at.
    pub(crate) fn key_id_of(&self, token: &[u8]) -> Option<KeyId> {
        signer_of(&self.signers(), token).map(|signer| *signer.header.key_id())
    }

    fn signers(&self) -> RwLockReadGuard<'_, Vec<Signer>> {
        self.signers.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn signers(kind: TokenKind, keys: &KeyRing<SigningKey>) -> Vec<Signer> {
    let signer = |key: &SigningKey| Signer {
        header: Header::new(kind, &key.id()),
        mac: key.mac_key(kind.mac_label()),
    };
    keys.iter().map(signer).collect()
}

/// Writes `bytes` in base64url to where there is room for just that.
fn encode(bytes: &[u8], text: &mut [u8]) {
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, text);
    debug_assert_eq!(written, Ok(text.len()));
}

fn signer_of<'a>(signers: &'a [Signer], token: &[u8]) -> Option<&'a Signer> {
    signers
        .iter()
        .find(|signer| token.starts_with(signer.header.as_str().as_bytes()))
}

impl Payload {
    pub(crate) fn as_json(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use secrecy::{ExposeSecret as _, SecretBox};

    use super::*;

    fn keys(primary: u8, retired: &[u8]) -> KeyRing<SigningKey> {
        let key = |byte| SigningKey::from_bytes(SecretBox::init_with(|| [byte; 32]));
        retired
            .iter()
            .fold(KeyRing::new(key(primary)), |ring, byte| {
                ring.with_retired(key(*byte)).unwrap()
            })
    }

    fn mint(codec: &Codec) -> Vec<u8> {
        let claims = Zeroizing::new(String::from(r#"{"a":1}"#));
        codec.mint(&claims).expose_secret().as_bytes().to_vec()
    }

    #[test]
    fn opens_what_it_minted() {
        let codec = Codec::new(TokenKind::Workspace, &keys(1, &[]));
        assert_eq!(codec.open(&mint(&codec)).unwrap().as_json(), br#"{"a":1}"#);
    }

    #[test]
    fn a_retired_key_verifies_and_an_unknown_one_does_not() {
        let old = mint(&Codec::new(TokenKind::Workspace, &keys(1, &[])));
        assert!(
            Codec::new(TokenKind::Workspace, &keys(2, &[1]))
                .open(&old)
                .is_ok()
        );
        assert!(
            Codec::new(TokenKind::Workspace, &keys(2, &[]))
                .open(&old)
                .is_err()
        );
    }

    #[test]
    fn one_kind_is_never_another_even_under_the_other_header() {
        let header = |codec: &Codec| codec.signers()[0].header.as_str().to_owned();
        let kinds = [TokenKind::Access, TokenKind::Session, TokenKind::Workspace];
        for (one, other) in kinds
            .iter()
            .flat_map(|one| kinds.iter().map(move |other| (*one, *other)))
            .filter(|(one, other)| one != other)
        {
            let [one, other] = [one, other].map(|kind| Codec::new(kind, &keys(1, &[])));
            let token = mint(&one);
            assert!(!other.begins_as_ours(&token) && other.open(&token).is_err());
            let body = &token[header(&one).len()..];
            let dressed = [header(&other).as_bytes(), body].concat();
            assert!(other.open(&dressed).is_err());
        }
    }

    #[test]
    fn refuses_every_single_bit_flip_and_every_cut() {
        let codec = Codec::new(TokenKind::Workspace, &keys(1, &[]));
        let token = mint(&codec);
        for bit in 0..token.len() * 8 {
            let mut changed = token.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(codec.open(&changed).is_err(), "bit {bit}");
        }
        for length in 0..token.len() {
            assert!(codec.open(&token[..length]).is_err(), "length {length}");
        }
    }

    /// The last character carries two unused bits; four spellings would decode to one MAC.
    #[test]
    fn refuses_another_spelling_of_the_same_mac() {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let codec = Codec::new(TokenKind::Workspace, &keys(1, &[]));
        let token = mint(&codec);
        let passing = ALPHABET.iter().filter(|last| {
            let mut respelled = token.clone();
            *respelled.last_mut().unwrap() = **last;
            codec.open(&respelled).is_ok()
        });
        assert_eq!(passing.count(), 1);
    }

    #[test]
    fn a_token_may_be_as_long_as_the_bound_and_no_longer() {
        let codec = Codec::new(TokenKind::Workspace, &keys(1, &[]));
        let of_length = |claims: usize| {
            let token = codec.mint(&Zeroizing::new("x".repeat(claims)));
            token.expose_secret().as_bytes().to_vec()
        };
        let longest = (1..MAX_TOKEN_LENGTH)
            .map(of_length)
            .take_while(|token| token.len() <= MAX_TOKEN_LENGTH)
            .last()
            .unwrap();
        assert_eq!(longest.len(), MAX_TOKEN_LENGTH);
        assert!(codec.open(&longest).is_ok() && codec.begins_as_ours(&longest));
        assert!(codec.has_signed(&longest));
        assert!(TagKey::generate().unwrap().tag(&longest).is_some());
        let mut longer = longest.clone();
        longer.push(b'x');
        assert!(!codec.begins_as_ours(&longer) && !codec.has_signed(&longer));
        assert!(TagKey::generate().unwrap().tag(&longer).is_none());
    }

    #[test]
    fn what_begins_otherwise_is_not_ours_and_was_not_signed() {
        let codec = Codec::new(TokenKind::Workspace, &keys(1, &[]));
        let session = mint(&Codec::new(TokenKind::Session, &keys(1, &[])));
        for token in [&b""[..], b"x", b"eyJ", &session] {
            assert!(!codec.begins_as_ours(token) && !codec.has_signed(token));
        }
        assert!(codec.begins_as_ours(&mint(&codec)) && codec.has_signed(&mint(&codec)));
    }

    #[test]
    fn a_signing_key_gives_its_bytes_to_the_key_file() {
        let key = SigningKey::from_bytes(SecretBox::init_with(|| [7; 32]));
        assert_eq!(key.expose_secret(), &[7; 32]);
    }

    #[test]
    fn refuses_what_is_too_long_before_it_looks_at_it() {
        let codec = Codec::new(TokenKind::Workspace, &keys(1, &[]));
        let claims = Zeroizing::new(format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_TOKEN_LENGTH)));
        let token = codec.mint(&claims);
        assert!(codec.open(token.expose_secret().as_bytes()).is_err());
    }

    /// The oracle: the reference implementation agrees on what we mint.
    #[test]
    fn the_header_is_what_jsonwebtoken_reads() {
        let codec = Codec::new(TokenKind::Workspace, &keys(1, &[]));
        let token = mint(&codec);
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!(header.alg, jsonwebtoken::Algorithm::HS256);
        assert_eq!(header.typ.as_deref(), Some("workspace+jwt"));
        assert_eq!(
            header.kid.as_deref(),
            codec.key_ids().first().map(KeyId::as_str)
        );
    }

    /// The JWS vectors of Wycheproof: each token with its number, the key of its group if that is one of
    /// HS256, and whether it has to be refused.
    fn wycheproof() -> Vec<(usize, Option<[u8; 32]>, String, bool)> {
        use wycheproof_ng_kdf_jose::json_web::{TestName, TestSet};
        let key = |key: &serde_json::Value| {
            let secret = URL_SAFE_NO_PAD.decode(key["k"].as_str()?).ok()?;
            (key["alg"] == "HS256").then_some(secret.try_into().ok()?)
        };
        let set = TestSet::load(TestName::JsonWebSignature).unwrap();
        let of_group = set.test_groups.into_iter().flat_map(|group| {
            let key = group.private_key.as_ref().and_then(key);
            group.tests.into_iter().map(move |test| {
                let jws = test.jws.unwrap();
                let text = jws.as_str().map_or(jws.to_string(), str::to_owned);
                (test.tc_id, key, text, test.result.must_fail())
            })
        });
        of_group.collect()
    }

    #[test]
    fn no_signature_of_wycheproof_is_a_token_of_ours() {
        let vectors = wycheproof();
        assert_eq!(vectors.len(), 401);
        for kind in [TokenKind::Access, TokenKind::Session, TokenKind::Workspace] {
            let codec = Codec::new(kind, &keys(1, &[2]));
            for (number, _, token, _) in &vectors {
                assert!(codec.open(token.as_bytes()).is_err(), "{number}");
            }
        }
    }

    /// With their keys, and the first header of each key for the one that we write.
    #[test]
    fn agrees_with_wycheproof_on_what_hs256_has_signed() {
        /// Marked invalid, and the same bytes as 357, which is marked valid.
        const SAME_AS_A_VALID_ONE: [usize; 2] = [367, 370];
        /// Marked valid: with a character outside of the alphabet, and with a header that is spelled otherwise.
        const SPELLED_OTHERWISE: [usize; 4] = [372, 373, 376, 377];
        let mut headers = std::collections::HashMap::new();
        let mut tried = 0;
        for (number, key, token, must_fail) in wycheproof() {
            let Some(key) = key else { continue };
            let header = headers.entry(key).or_insert_with(|| {
                let end = token.find('.').unwrap();
                token[..=end].to_owned()
            });
            let signer = Signer {
                header: Header::foreign(header.clone()),
                mac: MacKey::new(&key),
            };
            let codec = Codec {
                signers: RwLock::new(vec![signer]),
                ..Codec::new(TokenKind::Workspace, &keys(1, &[]))
            };
            let expected = match number {
                _ if SAME_AS_A_VALID_ONE.contains(&number) => true,
                _ if SPELLED_OTHERWISE.contains(&number) => false,
                _ => !must_fail,
            };
            assert_eq!(codec.open(token.as_bytes()).is_ok(), expected, "{number}");
            tried += 1;
        }
        assert_eq!(tried, 40);
    }
}
