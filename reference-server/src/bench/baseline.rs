//! What the figures are compared with: `jsonwebtoken::decode` of the very same tokens, as its page shows it.
//!
//! The crate signs and verifies through a provider, of which there is one per process. Its own ones bring
//! RSA or a C library along, so this is one for HS256 alone, of the same crates as its RustCrypto
//! provider and written like that one: the key is absorbed anew for each token, since `decode` asks for a
//! verifier each time.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result},
    signature::{self, Verifier},
};
use serde::Deserialize;
use sha2::Sha256;
use tower_workspace_token::{id::WorkspaceId, jwt::SigningKey};
use zeroize::Zeroizing;

/// Decodes tokens of one signing key.
pub(super) struct Baseline {
    key: DecodingKey,
    validation: Validation,
}

/// What a server keeps of a token that it has decoded.
#[derive(Deserialize)]
struct Claims {
    aud: String,
    #[serde(rename = "gen")]
    generation: u64,
    iat: u64,
    jti: String,
    sub: String,
}

impl Baseline {
    /// Its backend, in words.
    pub(super) const BACKEND: &str = "hmac and sha2 (RustCrypto)";

    pub(super) fn new(key: &SigningKey) -> anyhow::Result<Self> {
        // There is one already if this process has measured before.
        let _ = PROVIDER.install_default();
        let mut validation = Validation::new(Algorithm::HS256);
        // The tokens don't expire, and the audience is compared below, since each has another one.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.validate_aud = false;
        Ok(Self {
            key: DecodingKey::from_secret(mac_key(key)?.as_slice()),
            validation,
        })
    }

    /// Returns whether `token` is signed, and by its claims for `workspace`.
    #[expect(clippy::disallowed_methods, reason = "it is the baseline")]
    pub(super) fn accepts(&self, workspace: &WorkspaceId, token: &[u8]) -> bool {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        decoded.is_ok_and(|decoded| {
            let claims = std::hint::black_box(decoded.claims);
            let is_whole = claims.generation > 0 && claims.iat > 0 && !claims.sub.is_empty();
            is_whole && !claims.jti.is_empty() && claims.aud == workspace.as_str()
        })
    }
}

/// Derives the MAC key of workspace tokens, as docs/token-format.md says.
fn mac_key(key: &SigningKey) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let mut derived = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, key.expose_secret())
        .expand(MAC_LABEL, &mut *derived)
        .map_err(|error| anyhow::anyhow!("cannot derive a key: {error}"))?;
    Ok(derived)
}

struct Hs256(Hmac<Sha256>);

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(
        &self,
        message: &[u8],
        presented: &Vec<u8>,
    ) -> std::result::Result<(), signature::Error> {
        let mut mac = self.0.clone();
        mac.update(message);
        let compared = mac.verify_slice(presented);
        compared.map_err(signature::Error::from_source)
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if *algorithm != Algorithm::HS256 {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let absorbed = Hmac::new_from_slice(key.try_get_as_bytes()?);
    let absorbed = absorbed.map_err(|_| ErrorKind::InvalidKeyFormat)?;
    Ok(Box::new(Hs256(absorbed)))
}

/// Nothing is signed here.
fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    // They are for keys in JWK form, of which there are none.
    key_utils: KeyUtils::new_unimplemented(),
};

const MAC_LABEL: &[u8] = b"tower-workspace-token v1 mac workspace+jwt";

#[cfg(test)]
mod tests {
    use secrecy::SecretBox;

    use super::*;

    const TOKEN: &str = include_str!("../../../tests/vectors/workspace-token-v1.jwt");

    fn baseline(byte: u8) -> Baseline {
        let key = SigningKey::from_bytes(SecretBox::init_with(|| [byte; 32]));
        Baseline::new(&key).unwrap()
    }

    #[test]
    fn it_decodes_the_published_token_and_no_other() {
        let acme = "acme".parse().unwrap();
        let token = TOKEN.trim_end().as_bytes();
        assert!(baseline(1).accepts(&acme, token));
        assert!(!baseline(1).accepts(&"other".parse().unwrap(), token));
        assert!(!baseline(2).accepts(&acme, token));
        let mut forged = token.to_vec();
        forged[token.len() - 20] ^= 1;
        assert!(!baseline(1).accepts(&acme, &forged));
    }

    #[test]
    fn another_algorithm_is_an_error_and_no_panic() {
        let key = DecodingKey::from_secret(&[1; 32]);
        assert!(verifier(&Algorithm::HS384, &key).is_err());
        let key = EncodingKey::from_secret(&[1; 32]);
        assert!(no_signer(&Algorithm::HS256, &key).is_err());
    }
}
