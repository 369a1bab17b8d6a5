//! A credential's life as types: presented, issued, sealed.
//!
//! The fourth stage, *verified*, is [`VerifiedToken`](crate::authority::VerifiedToken): only the
//! authority makes it. None of these types prints what it holds.

use std::{error, fmt, time::Duration};

use secrecy::{ExposeSecret, SecretString};

use crate::{
    clock::Timestamp,
    id::{Generation, TokenId, TokenName, WorkspaceId},
};

/// A credential as it came from the wire: nothing about it has been checked.
///
/// It borrows; whoever holds the bytes wipes them.
#[derive(Clone, Copy)]
pub struct PresentedToken<'a> {
    bytes: &'a [u8],
    was_in_url: bool,
}

/// A token that was just minted: the one time its plaintext can be read.
///
/// There is no `Clone` and no `Serialize`; the text is wiped when this is dropped.
pub struct IssuedToken {
    pub(crate) workspace: WorkspaceId,
    pub(crate) name: TokenName,
    pub(crate) id: TokenId,
    pub(crate) generation: Generation,
    pub(crate) text: SecretString,
}

/// An access token that was just got by [exchange](crate::TokenAuthority::exchange).
///
/// There is no `Clone` and no `Serialize`; the text is wiped when this is dropped. Nothing of it is kept.
pub struct IssuedAccessToken {
    pub(crate) workspace: WorkspaceId,
    pub(crate) name: TokenName,
    pub(crate) token_id: TokenId,
    pub(crate) generation: Generation,
    pub(crate) expires_at: Timestamp,
    pub(crate) life: Duration,
    pub(crate) text: SecretString,
}

/// How long an access token lets in: 1 minute to 1 hour, 15 minutes by default, in whole seconds.
///
/// ```
/// use std::time::Duration;
/// use tower_workspace_token::token::AccessTokenLife;
///
/// assert_eq!(AccessTokenLife::default().duration(), Duration::from_secs(15 * 60));
/// assert!(AccessTokenLife::try_from(Duration::from_secs(59)).is_err());
/// assert!(AccessTokenLife::try_from(Duration::from_secs(3601)).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessTokenLife(Duration);

/// A life of access tokens that is shorter than a minute, longer than an hour, or not in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidAccessTokenLife;

/// A token at rest: an envelope that only the key ring opens.
///
/// Its bytes are laid out in [`cipher::envelope`](crate::cipher::envelope). They are no secret, and
/// a store keeps them as they are.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedToken(Vec<u8>);

impl<'a> PresentedToken<'a> {
    /// Takes the bytes of a credential that a client sent in a header.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            was_in_url: false,
        }
    }

    /// Takes the bytes of a credential that a client sent in a URL.
    ///
    /// # Security
    /// URLs end up in logs and histories: no access token is taken from there, and none is got for what was.
    pub fn from_url(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            was_in_url: true,
        }
    }

    /// Returns the bytes as they came.
    pub fn expose_secret(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns whether it stood in a URL.
    pub(crate) fn was_in_url(&self) -> bool {
        self.was_in_url
    }
}

impl IssuedToken {
    /// Returns the workspace that the token opens.
    pub fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    /// Returns the slot that the token fills.
    pub fn name(&self) -> &TokenName {
        &self.name
    }

    /// Returns the public id of the token.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// Returns the generation of the token in its slot.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Returns the plaintext of the token, which nobody can show again once this is dropped.
    pub fn expose_secret(&self) -> &str {
        self.text.expose_secret()
    }
}

impl IssuedAccessToken {
    /// Returns the workspace that the token opens.
    pub fn workspace(&self) -> &WorkspaceId {
        &self.workspace
    }

    /// Returns the slot of the workspace token that it was exchanged for.
    pub fn name(&self) -> &TokenName {
        &self.name
    }

    /// Returns the public id of that workspace token.
    pub fn token_id(&self) -> TokenId {
        self.token_id
    }

    /// Returns the generation of that workspace token.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Returns when the token lets nothing more in.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Returns how long the token lets in, from when it was made: the `expires_in` of RFC 6749 §5.1.
    pub fn life(&self) -> Duration {
        self.life
    }

    /// Returns the plaintext of the token.
    pub fn expose_secret(&self) -> &str {
        self.text.expose_secret()
    }
}

impl AccessTokenLife {
    /// The shortest life: a client needs the time to get the next token.
    pub const SHORTEST: Duration = Duration::from_secs(60);

    /// The longest life: what leaks into a log is worth something for as long.
    pub const LONGEST: Duration = Duration::from_secs(60 * 60);

    /// Returns the life as it is.
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl Default for AccessTokenLife {
    fn default() -> Self {
        Self(Duration::from_secs(15 * 60))
    }
}

impl TryFrom<Duration> for AccessTokenLife {
    type Error = InvalidAccessTokenLife;

    fn try_from(life: Duration) -> Result<Self, InvalidAccessTokenLife> {
        let is_in_bounds = (Self::SHORTEST..=Self::LONGEST).contains(&life);
        (is_in_bounds && life.subsec_nanos() == 0)
            .then_some(Self(life))
            .ok_or(InvalidAccessTokenLife)
    }
}

impl SealedToken {
    /// Wraps the bytes of an envelope, as a cipher made them or a store kept them.
    pub fn from_bytes(envelope: Vec<u8>) -> Self {
        Self(envelope)
    }

    /// Returns the bytes of the envelope.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PresentedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedToken").finish_non_exhaustive()
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("workspace", &self.workspace)
            .field("name", &self.name)
            .field("id", &self.id)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for IssuedAccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedAccessToken")
            .field("workspace", &self.workspace)
            .field("name", &self.name)
            .field("token_id", &self.token_id)
            .field("generation", &self.generation)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for InvalidAccessTokenLife {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an access token lives for 60 to 3600 seconds: choose a whole number of them")
    }
}

impl error::Error for InvalidAccessTokenLife {}

impl fmt::Debug for SealedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedToken")
            .field("length", &self.0.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_nothing_of_the_secret() {
        let issued = IssuedToken {
            workspace: "acme".parse().unwrap(),
            name: TokenName::primary(),
            id: TokenId::from_digest(&[0; 10]),
            generation: Generation::FIRST,
            text: SecretString::from("the-plaintext"),
        };
        let access = IssuedAccessToken {
            workspace: issued.workspace,
            name: issued.name,
            token_id: issued.id,
            generation: issued.generation,
            expires_at: Timestamp::from_secs(900),
            life: Duration::from_secs(900),
            text: SecretString::from("the-plaintext"),
        };
        let presented = PresentedToken::new(b"the-plaintext");
        assert!(!format!("{issued:?} {access:?} {presented:?}").contains("plaintext"));
    }
}
