//! Issuing: the first token of a slot, or the next one after a revocation.

use super::{Inner, TokenAuthority, slots::CurrentToken};
use crate::{
    cipher::SealContext,
    error::{Error, ErrorKind},
    id::{Generation, Revision, SlotKey, TokenName, WorkspaceId},
    jwt::{TokenSecret, WorkspaceClaims},
    store::{HistoryEvent, HistoryEventKind, TokenRecord},
    token::IssuedToken,
};

impl TokenAuthority {
    /// Issues a token for the slot `name` of `workspace`, which must not hold a live one.
    ///
    /// The plaintext is in the answer and nowhere else: only sealed does it reach the store.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyIssued`] if the slot holds a live token; the store or the cipher failed.
    pub async fn issue(
        &self,
        workspace: &WorkspaceId,
        name: &TokenName,
    ) -> Result<IssuedToken, Error> {
        let key = SlotKey::new(*workspace, *name);
        let current = self.inner.read(&key).await?;
        if current.as_ref().is_some_and(TokenRecord::is_live) {
            return Err(Error::new(ErrorKind::AlreadyIssued));
        }
        // The generation goes on where the tombstone stands: it never falls.
        let expected = current.as_ref().map(|tombstone| tombstone.revision);
        let generation = match &current {
            None => Generation::FIRST,
            Some(tombstone) => self.inner.generation_after(tombstone)?,
        };
        let (issued, record) = self.inner.mint(key, expected, generation).await?;
        let event = HistoryEvent::new(
            HistoryEventKind::Issued,
            generation,
            issued.id(),
            record.changed_at,
        );
        let token = self.inner.unproven(&issued);
        let event = self.note.sign(event);
        self.inner
            .commit(&key, expected, record, token, Some(event))
            .await?;
        Ok(issued)
    }
}

impl Inner {
    /// Returns the generation that follows `record`, and whatever this process knows to have followed it:
    /// where an older row was put back, the next token would otherwise be as dead as those before it.
    pub(super) fn generation_after(&self, record: &TokenRecord) -> Result<Generation, Error> {
        let slot = self.memory.slots.get(&record.key);
        let known = slot.and_then(|slot| Generation::from_number(slot.cell().generation()));
        let reached = known.map_or(record.generation, |known| known.max(record.generation));
        reached.next().ok_or_else(exhausted)
    }

    /// Returns what is remembered of a token that was just minted.
    pub(super) fn unproven(&self, issued: &IssuedToken) -> Option<CurrentToken> {
        let tag = self.memory.tag_key.tag(issued.expose_secret().as_bytes())?;
        Some(CurrentToken::unproven(Some(tag), issued.id()))
    }

    /// Mints the token of `generation` and the row that replaces the revision `expected`.
    pub(super) async fn mint(
        &self,
        key: SlotKey,
        expected: Option<Revision>,
        generation: Generation,
    ) -> Result<(IssuedToken, TokenRecord), Error> {
        let claims = WorkspaceClaims {
            workspace: key.workspace,
            generation,
            issued_at: self.clock.now(),
            secret: TokenSecret::generate()?,
            name: key.name,
        };
        let token_id = claims.secret.token_id();
        let issued = IssuedToken {
            workspace: key.workspace,
            name: key.name,
            id: token_id,
            generation,
            text: self.workspace_tokens.mint(&claims.to_json()),
        };
        let context = SealContext {
            key,
            token_id,
            generation,
        };
        let sealed = self
            .cipher()
            .seal(&context, &self.plaintext(&issued))
            .await?;
        let revision = next_revision(expected)?;
        let record = TokenRecord::live(
            key,
            revision,
            generation,
            token_id,
            sealed,
            claims.issued_at,
        );
        Ok((issued, record))
    }
}

pub(super) fn next_revision(expected: Option<Revision>) -> Result<Revision, Error> {
    match expected {
        None => Ok(Revision::FIRST),
        Some(revision) => revision.next().ok_or_else(exhausted),
    }
}

fn exhausted() -> Error {
    Error::new(ErrorKind::Exhausted)
}
