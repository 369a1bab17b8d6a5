//! The check that a write of the application makes in its own transaction.

use rusqlite::{Connection, OptionalExtension};
use tower_workspace_token::{
    id::{Generation, SlotKey},
    store::{StoreError, StoreErrorKind},
};

use crate::{error::before_commit, queries::numbered};

/// What a slot holds at the time of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotGeneration {
    /// The generation of the slot.
    pub generation: Generation,
    /// Whether the slot holds a token of this generation; else it was revoked.
    pub is_live: bool,
}

/// Returns the generation of `key` as `transaction` sees it, or `None` if there never was a token.
///
/// A write that commits in the same transaction happened before any rotation that this did not see:
/// begin it with `BEGIN IMMEDIATE`, so that none can come between and fail it.
///
/// # Errors
/// The store could not look, or `transaction` is a connection that is in none.
pub fn slot_generation(
    transaction: &Connection,
    key: &SlotKey,
) -> Result<Option<SlotGeneration>, StoreError> {
    if transaction.is_autocommit() {
        let why = "a slot's generation holds for a transaction, and there is none";
        return Err(StoreError::with_source(StoreErrorKind::Unavailable, why));
    }
    let mut statement = transaction
        .prepare_cached(
            "SELECT generation, sealed IS NOT NULL FROM wst_slots WHERE workspace = ?1 AND name = ?2",
        )
        .map_err(before_commit)?;
    statement
        .query_row([key.workspace.as_str(), key.name.as_str()], |row| {
            Ok(SlotGeneration {
                generation: numbered(row, 0, Generation::from_number)?,
                is_live: row.get(1)?,
            })
        })
        .optional()
        .map_err(before_commit)
}
