//! The check that a write of the application makes in its own transaction.

use rusqlite::{OptionalExtension, Transaction};
use tower_workspace_token::{
    id::{Generation, SlotKey},
    store::StoreError,
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
/// The store could not look.
pub fn slot_generation(
    transaction: &Transaction<'_>,
    key: &SlotKey,
) -> Result<Option<SlotGeneration>, StoreError> {
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
