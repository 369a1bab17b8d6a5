//! An independent mint: derives the keys from the documented labels and signs whatever it is given.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use tower_workspace_token::id::TokenId;

use super::{JTI, NOW, SIGNING};

pub(crate) const ACCESS: &str = "workspace-access+jwt";
pub(crate) const WORKSPACE: &str = "workspace+jwt";
pub(crate) const SESSION: &str = "mcp-session+jwt";

/// The MAC key of one kind of token.
pub(crate) fn mac_key(secret: &[u8; 32], typ: &str) -> [u8; 32] {
    let mut key = [0; 32];
    let label = format!("tower-workspace-token v1 mac {typ}");
    Hkdf::<Sha256>::new(None, secret)
        .expand(label.as_bytes(), &mut key)
        .unwrap();
    key
}

/// The id of a signing key.
pub(crate) fn kid(secret: &[u8; 32]) -> String {
    let mut digest = [0; 5];
    Hkdf::<Sha256>::new(None, secret)
        .expand(b"tower-workspace-token v1 signing key id", &mut digest)
        .unwrap();
    base32(&digest)
}

/// The public id of the token whose secret is `jti`.
pub(crate) fn token_id(jti: &str) -> TokenId {
    let digest = Sha256::digest([b"token-id", jti.as_bytes()].concat());
    base32(&digest[..10]).parse().unwrap()
}

/// The header of a kind of token, as the library writes it.
pub(crate) fn header(typ: &str) -> String {
    format!(
        r#"{{"alg":"HS256","kid":"{}","typ":"{typ}"}}"#,
        kid(&SIGNING)
    )
}

/// The claims of a planted token, as the library writes them.
pub(crate) fn claims() -> String {
    format!(r#"{{"aud":"acme","gen":1,"iat":{NOW},"jti":"{JTI}","sub":"primary"}}"#)
}

/// The claims of an access token of `parent`, as the library writes them.
pub(crate) fn access_claims(parent: &str, issued_at: u64, expires_at: u64) -> Vec<u8> {
    let of_parent = payload(parent);
    let [aud, sub] = ["aud", "sub"].map(|name| member(&of_parent, name));
    let tid = token_id(&member(&of_parent, "jti"));
    let json = format!(
        r#"{{"aud":"{aud}","exp":{expires_at},"gen":1,"iat":{issued_at},"prf":"{UNPROVEN}","sub":"{sub}","tid":"{tid}"}}"#
    );
    prove(parent, json.as_bytes())
}

/// Where the proof of an access token is to be.
pub(crate) const UNPROVEN: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// Puts the right proof into claims, whatever else they say.
pub(crate) fn prove(parent: &str, json: &[u8]) -> Vec<u8> {
    let Some(at) = json
        .windows(UNPROVEN.len())
        .position(|text| text == UNPROVEN.as_bytes())
    else {
        return json.to_vec();
    };
    let (before, after) = (&json[..at], &json[at + UNPROVEN.len()..]);
    let signature = parent.rsplit('.').next().unwrap();
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(None, &Sha256::digest(signature))
        .expand(
            b"tower-workspace-token v1 parent of workspace-access+jwt",
            &mut key,
        )
        .unwrap();
    let proof = encode(&mac(&key, &[before, after].concat())[..16]);
    [before, proof.as_bytes(), after].concat()
}

/// The text of a member of claims.
pub(crate) fn member(json: &str, name: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    json[name].as_str().unwrap().to_owned()
}

/// Signs `header` and `payload` with the right MAC key of `typ`.
pub(crate) fn sign(typ: &str, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    sign_text(&mac_key(&SIGNING, typ), encode(header), encode(payload))
}

/// Signs texts that are encoded already, or are not.
pub(crate) fn sign_text(
    key: &[u8],
    header: impl std::fmt::Display,
    payload: impl std::fmt::Display,
) -> String {
    let input = format!("{header}.{payload}");
    let signature = encode(mac(key, input.as_bytes()));
    format!("{input}.{signature}")
}

pub(crate) fn mac(key: &[u8], input: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(input);
    mac.finalize().into_bytes().into()
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The payload of a token, decoded.
pub(crate) fn payload(token: &str) -> String {
    let payload = token.split('.').nth(1).unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn base32(bytes: &[u8]) -> String {
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    let digit = |five: &[u8]| five.iter().fold(0, |digit, bit| digit << 1 | bit);
    bits.chunks(5)
        .map(|five| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(digit(five))]))
        .collect()
}
