//! The look at a token's generation that every write of an agent makes in its own transaction.

use tower_workspace_token::{
    authority::Lease,
    id::{Generation, SlotKey},
};
use tower_workspace_token_sqlite::slot_generation;

use super::{Engine, Transaction};
use crate::tasks::{TaskError, TaskErrorKind};

/// Stops a write whose token was regenerated or revoked, be it by this process or another.
///
/// The transaction is an immediate one, so no rotation can commit between this and its end: what is
/// written here happened before the rotation, or not at all.
pub(crate) fn check(transaction: &Transaction<'_>, lease: &Lease) -> Result<(), TaskError> {
    // The lease itself is asked as well: it also ends where the row is not the reason.
    if is_current(transaction, lease.key(), lease.generation())? && lease.is_live() {
        Ok(())
    } else {
        Err(TaskError::new(TaskErrorKind::TokenRegenerated))
    }
}

/// Returns whether the slot holds the token of `generation`, and goes on to until the transaction ends.
pub(crate) fn is_current(
    transaction: &Transaction<'_>,
    key: &SlotKey,
    generation: Generation,
) -> Result<bool, TaskError> {
    // Each store says it in a type of its own.
    let slot = match transaction.engine() {
        Engine::Postgres(session) => {
            let slot = session
                .slot_generation(key)
                .map_err(TaskError::unavailable)?;
            slot.map(|slot| (slot.is_live, slot.generation))
        }
        Engine::Sqlite(connection) => {
            let slot = slot_generation(connection, key).map_err(TaskError::unavailable)?;
            slot.map(|slot| (slot.is_live, slot.generation))
        }
    };
    Ok(slot == Some((true, generation)))
}
