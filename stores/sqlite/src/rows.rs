//! All rows at once: for whoever compares them with a rollback journal.

use rusqlite::Connection;
use tower_workspace_token::{
    id::{Generation, SlotKey},
    store::{StoreError, journal::SlotReached},
};

use crate::{
    error::before_commit,
    queries::{numbered, parsed},
};

/// Shows `each` slot of the database, tombstones included, with the generation that it has come to.
///
/// `connection` is one of a [store](crate::SqliteStore::connection).
///
/// # Errors
/// The database could not be read, or `each` failed.
pub fn for_each_slot<E: From<StoreError>>(
    connection: &Connection,
    mut each: impl FnMut(SlotReached) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |error| E::from(before_commit(error));
    let mut statement = connection
        .prepare("SELECT workspace, name, generation, token_id FROM wst_slots")
        .map_err(failed)?;
    let slots = statement.query_map([], |row| {
        let key = SlotKey::new(parsed(row, 0)?, parsed(row, 1)?);
        let generation = numbered(row, 2, Generation::from_number)?;
        Ok(SlotReached::new(key, generation, parsed(row, 3)?))
    });
    for slot in slots.map_err(failed)? {
        each(slot.map_err(failed)?)?;
    }
    Ok(())
}
