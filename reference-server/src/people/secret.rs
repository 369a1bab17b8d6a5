//! Secrets that a browser or a link holds: 256 random bits, of which the database knows the hash alone.

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// SHA-256 of a secret. No salt and no stretching: what has 256 random bits cannot be guessed.
pub(super) type SecretHash = [u8; 32];

/// Makes a secret, as 43 characters that fit a cookie and a URL.
pub(super) fn generate() -> anyhow::Result<SecretString> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).context("the operating system gave no randomness")?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(*bytes).into())
}

pub(super) fn hash(secret: &SecretString) -> SecretHash {
    Sha256::digest(secret.expose_secret().as_bytes()).into()
}
