//! Slow statements of how texts are to be read, with no code of the library.

use serde_json::Value;

use crate::{
    SIGNING,
    oracle::{self, WORKSPACE},
};

/// What the claims of an MCP token say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) workspace: String,
    /// All of them, as they have to be written.
    canonical: String,
}

/// Reads a token as `docs/token-format.md` describes it; `None` if it is none of ours.
pub(crate) fn workspace_token(token: &[u8]) -> Option<Claims> {
    let token = std::str::from_utf8(token).ok()?;
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        return None;
    };
    let is_ours = token.len() <= 4096
        && base64url(header)? == oracle::header(WORKSPACE).as_bytes()
        && base64url(signature)? == mac(header, payload);
    is_ours.then(|| claims(&base64url(payload)?)).flatten()
}

fn mac(header: &str, payload: &str) -> [u8; 32] {
    let key = oracle::mac_key(&SIGNING, WORKSPACE);
    oracle::mac(&key, format!("{header}.{payload}").as_bytes())
}

/// Reads claims as JSON, writes them as they have to be written, and compares.
fn claims(json: &[u8]) -> Option<Claims> {
    let value: Value = serde_json::from_slice(json).ok()?;
    let number = |name: &str| value.get(name)?.as_u64();
    let text = |name: &str| value.get(name)?.as_str();
    let (workspace, name) = (text("aud")?, text("sub")?);
    let (generation, issued_at, secret) = (number("gen")?, number("iat")?, text("jti")?);
    let canonical = format!(
        r#"{{"aud":"{workspace}","gen":{generation},"iat":{issued_at},"jti":"{secret}","sub":"{name}"}}"#
    );
    let is_right = is_label(workspace)
        && is_label(name)
        && (1..=i64::MAX as u64).contains(&generation)
        // Times are kept in milliseconds.
        && issued_at <= u64::MAX / 1000
        && secret.len() == 22
        && secret.bytes().all(|byte| value_of(byte).is_some())
        && canonical.as_bytes() == json;
    is_right.then(|| Claims {
        workspace: workspace.to_owned(),
        canonical,
    })
}

/// 1 to 63 of `[a-z0-9-]`.
pub(crate) fn is_label(text: &str) -> bool {
    let is_of_alphabet = |character| matches!(character, 'a'..='z' | '0'..='9') || character == '-';
    (1..64).contains(&text.len()) && text.chars().all(is_of_alphabet)
}

/// Base64url without padding, bit by bit; of each text there is one spelling (RFC 4648 §3.5).
fn base64url(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut length) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes() {
        bits = bits << 6 | value_of(byte)?;
        length += 6;
        if length >= 8 {
            length -= 8;
            bytes.push(u8::try_from(bits >> length).expect("what is above was taken"));
            bits &= (1 << length) - 1;
        }
    }
    (length < 6 && bits == 0).then_some(bytes)
}

fn value_of(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}

/// What a query comes to for who looks for the parameter `token`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Query {
    /// Its parameters without those that carry a credential, and these, decoded; a value beyond 4 KiB is
    /// taken as it is.
    Read {
        rest: Vec<String>,
        credentials: Vec<Result<Vec<u8>, BadEscape>>,
    },
    /// A name cannot be read, so that nobody can tell what hides behind it.
    Unreadable,
}

/// An escape that is none, or none of UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadEscape;

/// Splits a query of at most 8 KiB into what is to go and what is to stay.
pub(crate) fn query(query: &str) -> Query {
    let (mut rest, mut credentials) = (Vec::new(), Vec::new());
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        // With each of its five characters escaped, the name has fifteen.
        let name = (name.len() <= 15).then(|| form_decoded(name));
        match name {
            Some(Err(BadEscape)) => return Query::Unreadable,
            Some(Ok(name)) if name == b"token" => credentials.push(if value.len() > 4096 {
                Ok(value.as_bytes().to_vec())
            } else {
                form_decoded(value)
            }),
            _ => rest.push(parameter.to_owned()),
        }
    }
    Query::Read { rest, credentials }
}

/// Decodes `%XX` and `+`.
fn form_decoded(text: &str) -> Result<Vec<u8>, BadEscape> {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                let value = high.zip(low).map(|(high, low)| high * 16 + low);
                u8::try_from(value.ok_or(BadEscape)?).expect("two digits")
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    std::str::from_utf8(&decoded).map_err(|_| BadEscape)?;
    Ok(decoded)
}

/// Returns what stands behind `Bearer`, if a field begins with this scheme.
pub(crate) fn bearer(field: &[u8]) -> Option<&[u8]> {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = field
        .iter()
        .position(|byte| !is_of_name(byte))
        .unwrap_or(field.len());
    let (scheme, credential) = field.split_at(end);
    let spaces = credential.iter().take_while(|byte| **byte == b' ').count();
    scheme
        .eq_ignore_ascii_case(b"bearer")
        .then(|| &credential[spaces..])
}

/// Returns NAME of `${NAME}`: a variable that was not set.
pub(crate) fn variable(credential: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(credential).ok()?;
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let is_name = name
        .chars()
        .all(|character| character.is_ascii_alphanumeric() || character == '_');
    (begins && is_name && name.len() <= 64).then_some(name)
}
