//! The check that a write of the application makes in its own transaction.

use tokio_postgres::{Client, GenericClient, Transaction, types::Type};
use tower_workspace_token::{
    id::{Generation, SlotKey},
    store::StoreError,
};

use crate::{
    error::Failure,
    queries::{numbered, read},
};

/// What a slot holds at the time of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotGeneration {
    /// The generation of the slot.
    pub generation: Generation,
    /// Whether the slot holds a token of this generation; else it was revoked.
    pub is_live: bool,
}

/// Returns the generation of `key`, and keeps it from being rotated until `transaction` ends; `None` if there never was a token.
///
/// A write that commits in the same transaction happened before any rotation that this did not see. A
/// rotation waits meanwhile, four seconds by default, so keep the transaction short. Writes of several
/// transactions don't wait for each other here. The transaction is to be one of READ COMMITTED, the default; in the stricter
/// ones, a rotation that came between its beginning and this is an error.
///
/// # Errors
/// The store could not look; the transaction can only be rolled back then.
pub async fn slot_generation(
    transaction: &Transaction<'_>,
    key: &SlotKey,
) -> Result<Option<SlotGeneration>, StoreError> {
    look(transaction, key).await
}

/// The same for whoever says `BEGIN` and `COMMIT` by themselves.
///
/// Outside of a transaction the answer holds for no longer than it takes to arrive.
///
/// # Errors
/// As of [`slot_generation`].
pub async fn slot_generation_on(
    client: &Client,
    key: &SlotKey,
) -> Result<Option<SlotGeneration>, StoreError> {
    look(client, key).await
}

async fn look(
    transaction: &impl GenericClient,
    key: &SlotKey,
) -> Result<Option<SlotGeneration>, StoreError> {
    let (workspace, name) = (key.workspace.as_str(), key.name.as_str());
    let found = transaction
        .query_typed_opt(GUARD, &[(&workspace, Type::TEXT), (&name, Type::TEXT)])
        .await
        .map_err(|error| Failure::Failed(error).of_read())?;
    let slot = found.map(|row| {
        Ok(SlotGeneration {
            generation: numbered(&row, 0, Generation::from_number)?,
            is_live: read(&row, 1)?,
        })
    });
    slot.transpose().map_err(Failure::of_read)
}

const GUARD: &str = "
SELECT generation, sealed IS NOT NULL FROM wst_slots WHERE workspace = $1 AND name = $2 FOR SHARE";
