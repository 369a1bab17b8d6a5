//! The check value: which keys a key file must hold to go with this database.
//!
//! A key's id is derived from the key, so a list of ids tells a wrong or replaced key file from the
//! right one before anything is read or written with it.

use anyhow::bail;
use tower_workspace_token::{
    authority::Keys,
    cipher::{KeyRing, RingKey},
};

use crate::{
    db::{Database, DatabaseError, Transaction, params},
    time,
};

/// Compares `keys` with what the database needs, then notes the keys that are in use from now on.
pub(crate) async fn check(database: &Database, keys: &Keys) -> anyhow::Result<()> {
    let (held, used) = (held(keys), used(keys));
    let missing = database
        .write(move |transaction| {
            let missing = missing(transaction, &held)?;
            if missing.is_empty() {
                note(transaction, &used)?;
            }
            Ok::<_, DatabaseError>(missing)
        })
        .await?;
    if let Some((ring, id)) = missing.first() {
        bail!(
            "the key file does not go with this database: the {ring} key `{id}` is missing from it; put the key file back that was used before, or the database that goes with this one; nothing was changed"
        );
    }
    Ok(())
}

/// The ring of a key, and its id.
pub(crate) type KeyName = (&'static str, String);

/// Forgets that the database needs a key.
pub(crate) fn forget(
    connection: &Transaction<'_>,
    ring: &str,
    id: &str,
) -> Result<(), DatabaseError> {
    connection.execute(
        "DELETE FROM required_keys WHERE ring = ?1 AND id = ?2",
        [ring, id],
    )?;
    Ok(())
}

/// Forgets all keys but those in `needed`.
pub(crate) fn keep(connection: &Transaction<'_>, needed: &[KeyName]) -> Result<(), DatabaseError> {
    for (ring, id) in required(connection)? {
        let is_needed = |(other, key): &KeyName| *other == ring && *key == id;
        if !needed.iter().any(is_needed) {
            forget(connection, &ring, &id)?;
        }
    }
    Ok(())
}

/// Returns the keys that the database needs, oldest first.
pub(crate) fn required(
    connection: &Transaction<'_>,
) -> Result<Vec<(String, String)>, DatabaseError> {
    let mut statement =
        connection.prepare_cached("SELECT ring, id FROM required_keys ORDER BY since, ring, id")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect::<Result<_, _>>()
}

pub(crate) fn held(keys: &Keys) -> Vec<KeyName> {
    let mut held = ids("signing", &keys.signing);
    held.extend(ids("sealing", &keys.sealing));
    held
}

pub(crate) fn used(keys: &Keys) -> [KeyName; 2] {
    [
        ("signing", keys.signing.primary().id().to_string()),
        ("sealing", keys.sealing.primary().id().to_string()),
    ]
}

fn ids<K: RingKey>(name: &'static str, ring: &KeyRing<K>) -> Vec<KeyName> {
    ring.iter()
        .map(|key| (name, key.id().to_string()))
        .collect()
}

pub(crate) fn missing(
    connection: &Transaction<'_>,
    held: &[KeyName],
) -> Result<Vec<(String, String)>, DatabaseError> {
    let mut missing = required(connection)?;
    missing.retain(|(ring, id)| {
        !held
            .iter()
            .any(|(held_ring, held_id)| held_ring == ring && held_id == id)
    });
    Ok(missing)
}

/// Notes that the database needs the keys from now on.
pub(crate) fn note(connection: &Transaction<'_>, used: &[KeyName]) -> Result<(), DatabaseError> {
    for (ring, id) in used {
        connection.execute(
            "INSERT INTO required_keys (ring, id, since) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![ring, id, time::now()],
        )?;
    }
    Ok(())
}
