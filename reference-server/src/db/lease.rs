//! The look at a token's generation that every write of an agent makes in its own transaction.

use rusqlite::Transaction;
use tower_workspace_token::authority::Lease;
use tower_workspace_token_sqlite::slot_generation;

use crate::tasks::{TaskError, TaskErrorKind};

/// Stops a write whose token was regenerated or revoked, be it by this process or another.
///
/// The transaction is an immediate one, so no rotation can commit between this and its end: what is
/// written here happened before the rotation, or not at all.
pub(crate) fn check(transaction: &Transaction<'_>, lease: &Lease) -> Result<(), TaskError> {
    let slot = slot_generation(transaction, lease.key()).map_err(TaskError::unavailable)?;
    let holds = slot.is_some_and(|slot| slot.is_live && slot.generation == lease.generation());
    // The lease itself is asked as well: it also ends where the row is not the reason.
    if holds && lease.is_live() {
        Ok(())
    } else {
        Err(TaskError::new(TaskErrorKind::TokenRegenerated))
    }
}
