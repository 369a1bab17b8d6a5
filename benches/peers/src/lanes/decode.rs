//! `jsonwebtoken::decode` in a layer of one's own: what most applications have.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use super::gate::Check;
use crate::token::{Claims, PeerKey, WORKSPACE};

/// Decodes every token anew.
#[derive(Clone)]
pub struct Decode(Arc<(DecodingKey, Validation)>);

impl Decode {
    /// Makes the check.
    pub fn new(key: &PeerKey) -> Self {
        Self(Arc::new((
            DecodingKey::from_secret(&key.bytes),
            validation(),
        )))
    }
}

impl Check for Decode {
    type Identity = Claims;

    fn check(&self, token: &str) -> Option<Claims> {
        let (key, validation) = &*self.0;
        let decoded = jsonwebtoken::decode(token, key, validation).ok()?;
        Some(decoded.claims)
    }
}

impl std::fmt::Debug for Decode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decode").finish_non_exhaustive()
    }
}

/// Checks the audience and, since tokens live until they are rotated, no expiry.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&[WORKSPACE]);
    validation.set_required_spec_claims(&["aud"]);
    validation.validate_exp = false;
    validation
}
