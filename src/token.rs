//! A credential's life as types: presented, issued, sealed.
//!
//! The fourth stage, *verified*, is [`VerifiedToken`](crate::authority::VerifiedToken): only the
//! authority makes it. None of these types prints what it holds.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::id::{Generation, TokenId, TokenName, WorkspaceId};

/// A credential as it came from the wire: nothing about it has been checked.
///
/// It borrows; whoever holds the bytes wipes them.
#[derive(Clone, Copy)]
pub struct PresentedToken<'a>(&'a [u8]);

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

/// A token at rest: an envelope that only the key ring opens.
///
/// Its bytes are laid out in [`cipher::envelope`](crate::cipher::envelope). They are no secret, and
/// a store keeps them as they are.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedToken(Vec<u8>);

impl<'a> PresentedToken<'a> {
    /// Takes the bytes of a credential that a client sent.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes as they came.
    pub fn expose_secret(&self) -> &'a [u8] {
        self.0
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
        let presented = PresentedToken::new(b"the-plaintext");
        assert!(!format!("{issued:?} {presented:?}").contains("plaintext"));
    }
}
