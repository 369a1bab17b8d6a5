//! What makes a restored backup safe: no generation falls, and no token comes back that was rotated since.
//!
//! A row of a backup is as genuine as the day it was written, so encryption tells nothing about its age.
//! The only thing that does is the database it replaces, or whoever knows that there is none.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tower_workspace_token::{
    clock::Timestamp,
    id::{Generation, SlotKey},
    store::{HistoryEventKind, StoreError, StoreErrorKind},
};

use crate::{
    error::{before_commit, in_commit},
    queries::{millis, numbered, parsed},
};

/// Where the row of a restored slot comes from: who vouches that its token was not rotated since.
/// Complete: a new origin would be a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The backup alone knows the slot: whether its token was rotated since, nobody here can tell.
    BackupAlone,
    /// The current database knows the slot, and none of its generations is above the one of this row.
    CurrentDatabase,
}

/// What [`merge_slots`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergedSlots {
    /// Slots whose row in the backup was older than the one in the current database, or not there, and
    /// which have the current row now.
    pub carried_over: usize,
    /// Live tokens, after all.
    pub live: usize,
    /// Live tokens whose row is the backup's.
    pub live_of_backup: usize,
    /// Tokens that did not survive: a tombstone of the next generation stands in their place.
    pub revoked: usize,
}

/// Merges the slots of the current database into those of a restored backup, so that no generation
/// falls: where both know a slot, the row with the higher generation stands, and the current one if
/// they are equal. Histories are merged with the rows.
///
/// Then each live token is put to `survives`, with the generation that it has, and revoked if it doesn't. A token that is known to the
/// [backup alone](Provenance::BackupAlone) may have been rotated after the backup was made: let it live
/// only where you know that this did not happen.
///
/// `restored` is the [connection](crate::SqliteStore::connection) of a store that was opened on a *copy* of the
/// backup and that nobody watches, `current` the path of a database that a store has opened and closed, so that both have the
/// tables of this version. All of it is one transaction, and `current` is not written to.
///
/// # Errors
/// One of the databases could not be read or written; nothing was changed.
pub fn merge_slots(
    restored: &mut Connection,
    current: Option<&Path>,
    now: Timestamp,
    survives: impl FnMut(&SlotKey, Generation, Provenance) -> bool,
) -> Result<MergedSlots, StoreError> {
    let Some(current) = current else {
        return merge(restored, false, now, survives);
    };
    let name = current.to_str().ok_or_else(|| {
        StoreError::with_source(StoreErrorKind::Unavailable, "the path is no text")
    })?;
    restored
        .execute("ATTACH DATABASE ?1 AS present", [name])
        .map_err(before_commit)?;
    let merged = merge(restored, true, now, survives);
    let detached = restored.execute_batch("DETACH DATABASE present");
    let merged = merged?;
    detached.map_err(before_commit)?;
    Ok(merged)
}

fn merge(
    restored: &mut Connection,
    has_current: bool,
    now: Timestamp,
    mut survives: impl FnMut(&SlotKey, Generation, Provenance) -> bool,
) -> Result<MergedSlots, StoreError> {
    let transaction = restored
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(before_commit)?;
    let merged = (|| {
        let mut merged = MergedSlots::default();
        let mut change = last_change(&transaction, has_current)?;
        if has_current {
            merged.carried_over = carry_over(&transaction, &mut change)?;
        }
        for (key, generation, provenance, is_of_backup) in live(&transaction, has_current)? {
            if survives(&key, generation, provenance) {
                merged.live += 1;
                merged.live_of_backup += usize::from(is_of_backup);
            } else {
                change += 1;
                revoke(&transaction, &key, now, change)?;
                merged.revoked += 1;
            }
        }
        Ok(merged)
    })();
    let merged = merged.map_err(before_commit)?;
    transaction.commit().map_err(in_commit)?;
    Ok(merged)
}

/// Returns a number that no change of either database is above.
fn last_change(transaction: &Transaction<'_>, has_current: bool) -> rusqlite::Result<i64> {
    let last = |schema: &str| {
        let sql = format!("SELECT ifnull(max(change), 0) FROM {schema}.wst_slots");
        transaction.query_row(&sql, [], |row| row.get::<_, i64>(0))
    };
    let of_backup = last("main")?;
    Ok(if has_current {
        of_backup.max(last("present")?)
    } else {
        of_backup
    })
}

/// Puts the rows of the current database over those that are not newer; returns how many that changed.
fn carry_over(transaction: &Transaction<'_>, change: &mut i64) -> rusqlite::Result<usize> {
    let mut found = transaction.prepare(
        "SELECT theirs.workspace, theirs.name, ours.generation IS NULL,
             ours.generation IS NOT theirs.generation OR ours.token_id IS NOT theirs.token_id
             OR (ours.sealed IS NULL) IS NOT (theirs.sealed IS NULL)
         FROM present.wst_slots AS theirs
         LEFT JOIN main.wst_slots AS ours USING (workspace, name)
         WHERE ours.generation IS NULL OR ours.generation <= theirs.generation",
    )?;
    let rows = found.query_map([], |row| {
        let key = SlotKey::new(parsed(row, 0)?, parsed(row, 1)?);
        Ok((key, row.get::<_, bool>(2)?, row.get::<_, bool>(3)?))
    })?;
    let rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    let mut insert = transaction.prepare(
        "INSERT INTO main.wst_slots (workspace, name, revision, generation, token_id, sealed, key_id,
             changed_at, last_used_at, change)
         SELECT workspace, name, revision, generation, token_id, sealed, key_id, changed_at,
             last_used_at, ?3
         FROM present.wst_slots WHERE workspace = ?1 AND name = ?2",
    )?;
    // The same generation may have been rewrapped since, so the whole row is taken in any case.
    let mut update = transaction.prepare(
        "UPDATE main.wst_slots AS ours SET revision = max(ours.revision, theirs.revision),
             generation = theirs.generation, token_id = theirs.token_id, sealed = theirs.sealed,
             key_id = theirs.key_id, changed_at = theirs.changed_at,
             last_used_at = theirs.last_used_at, change = ?3
         FROM present.wst_slots AS theirs
         WHERE ours.workspace = ?1 AND ours.name = ?2
             AND theirs.workspace = ?1 AND theirs.name = ?2",
    )?;
    // Where two histories went apart, the one that belongs to the row stands.
    let mut history = transaction.prepare(
        "INSERT OR REPLACE INTO main.wst_history
             (workspace, name, revision, kind, generation, token_id, at, actor, reason)
         SELECT workspace, name, revision, kind, generation, token_id, at, actor, reason
         FROM present.wst_history WHERE workspace = ?1 AND name = ?2",
    )?;
    let mut changed = 0;
    for (key, is_new, is_other) in rows {
        *change += 1;
        let (workspace, name) = (key.workspace.as_str(), key.name.as_str());
        let put = if is_new { &mut insert } else { &mut update };
        put.execute(params![workspace, name, *change])?;
        history.execute([workspace, name])?;
        changed += usize::from(is_other);
    }
    Ok(changed)
}

/// Returns the live slots, who vouches for each, and whether its row is the backup's.
fn live(
    transaction: &Transaction<'_>,
    has_current: bool,
) -> rusqlite::Result<Vec<(SlotKey, Generation, Provenance, bool)>> {
    let (generation, join) = if has_current {
        (
            "theirs.generation",
            "LEFT JOIN present.wst_slots AS theirs USING (workspace, name)",
        )
    } else {
        ("NULL", "")
    };
    let mut found = transaction.prepare(&format!(
        "SELECT ours.workspace, ours.name, {generation} IS NOT NULL, {generation} IS NOT ours.generation,
             ours.generation
         FROM main.wst_slots AS ours {join} WHERE ours.sealed IS NOT NULL"
    ))?;
    let rows = found.query_map([], |row| {
        let provenance = if row.get(2)? {
            Provenance::CurrentDatabase
        } else {
            Provenance::BackupAlone
        };
        let key = SlotKey::new(parsed(row, 0)?, parsed(row, 1)?);
        let generation = numbered(row, 4, Generation::from_number)?;
        Ok((key, generation, provenance, row.get(3)?))
    })?;
    rows.collect()
}

fn revoke(
    transaction: &Transaction<'_>,
    key: &SlotKey,
    now: Timestamp,
    change: i64,
) -> rusqlite::Result<()> {
    let (workspace, name) = (key.workspace.as_str(), key.name.as_str());
    transaction
        .prepare_cached(
            "UPDATE wst_slots SET revision = revision + 1, generation = generation + 1, sealed = NULL,
                 key_id = NULL, changed_at = ?3, last_used_at = NULL, change = ?4
             WHERE workspace = ?1 AND name = ?2",
        )?
        .execute(params![workspace, name, millis(now), change])?;
    transaction
        .prepare_cached(
            "INSERT INTO wst_history (workspace, name, revision, kind, generation, token_id, at, actor, reason)
             SELECT workspace, name, revision, ?3, generation, token_id, changed_at, ?4, ?5
             FROM wst_slots WHERE workspace = ?1 AND name = ?2",
        )?
        .execute(params![
            workspace,
            name,
            HistoryEventKind::Revoked.as_str(),
            "restore",
            REASON
        ])?;
    Ok(())
}

const REASON: &str = "nobody knew whether it was rotated after the backup";
