//! oxitoken: a library that verifies JWTs, in a layer of one's own.
//!
//! Its own HMAC key is one of aws-lc-rs, and that part of oxitoken 0.1.0 does not compile with the versions of
//! aws-lc-rs that it asks for. So it gets RustCrypto's HMAC by the trait that it has for this,
//! with the key schedule computed once.

use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use oxitoken::{
    Algorithm,
    claims::Aud,
    error::JwtError,
    header::Alg,
    validation::{StaticKeyProvider, ValidationPipeline, VerificationKey},
};
use serde::Deserialize;
use sha2::Sha256;

use super::gate::Check;
use crate::token::{Claims, PeerKey, WORKSPACE};

type Pipeline = ValidationPipeline<Header, Claims, StaticKeyProvider<HmacKey>>;

/// Verifies every token anew.
#[derive(Clone)]
pub struct Oxitoken(Arc<Pipeline>);

#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
}

struct HmacKey(Hmac<Sha256>);

impl Oxitoken {
    /// Makes the check.
    pub fn new(key: &PeerKey) -> Self {
        let mac = Hmac::new_from_slice(&key.bytes).expect("any length will do");
        let pipeline = Pipeline::builder(StaticKeyProvider::new(HmacKey(mac)))
            .with_audience_validator(WORKSPACE)
            .build();
        Self(Arc::new(pipeline))
    }
}

impl Check for Oxitoken {
    type Identity = Claims;

    fn check(&self, token: &str) -> Option<Claims> {
        let (_, claims) = self.0.verify(token.as_bytes()).ok()?;
        Some(claims)
    }
}

impl Alg for Header {
    fn alg(&self) -> Algorithm {
        self.alg
    }
}

impl Aud for Claims {
    fn aud(&self) -> impl Iterator<Item = impl AsRef<str>> {
        std::iter::once(&self.aud)
    }
}

impl VerificationKey for HmacKey {
    fn alg(&self) -> Option<Algorithm> {
        Some(Algorithm::HS256)
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), JwtError> {
        let mac = self.0.clone().chain_update(message);
        mac.verify_slice(signature)
            .map_err(|_| JwtError::InvalidSignature)
    }
}

impl std::fmt::Debug for Oxitoken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Oxitoken").finish_non_exhaustive()
    }
}
