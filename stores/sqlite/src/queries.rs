//! Every statement about slots and their history, and how a row becomes a record.
//!
//! Functions take a connection and say nothing of threads; statements are prepared once per connection.

use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};
use tower_workspace_token::{
    cipher::envelope::Header,
    clock::Timestamp,
    id::{Generation, KeyId, Revision, SlotKey, WorkspaceId},
    store::{ChangeObserver, HistoryEvent, HistoryEventKind, TokenRecord},
    token::SealedToken,
};

/// A compare-and-swap that is to be written.
#[derive(Debug)]
pub(crate) struct Swap {
    pub(crate) key: SlotKey,
    pub(crate) expected: Option<Revision>,
    pub(crate) next: TokenRecord,
    pub(crate) event: Option<HistoryEvent>,
}

/// A slot with a live token, and the key that its row is sealed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveSlot {
    /// The slot.
    pub key: SlotKey,
    /// The key; `None` if a cipher of your own sealed the row without a
    /// [`Header`](tower_workspace_token::cipher::envelope::Header).
    pub sealed_with: Option<KeyId>,
}

/// Whether a swap found the revision that it expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swapped {
    Conflict,
    Written,
}

/// What a write did to a slot, as observers are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) key: SlotKey,
    pub(crate) generation: Generation,
}

impl Change {
    pub(crate) fn tell(&self, observer: &ChangeObserver) {
        observer.changed(&self.key, self.generation);
    }
}

pub(crate) fn find(
    connection: &Connection,
    key: &SlotKey,
) -> rusqlite::Result<Option<TokenRecord>> {
    connection
        .prepare_cached(
            "SELECT revision, generation, token_id, sealed, changed_at, last_used_at
             FROM wst_slots WHERE workspace = ?1 AND name = ?2",
        )?
        .query_row(slot(key), |row| record(*key, row))
        .optional()
}

pub(crate) fn list(
    connection: &Connection,
    workspace: &WorkspaceId,
) -> rusqlite::Result<Vec<TokenRecord>> {
    connection
        .prepare_cached(
            "SELECT revision, generation, token_id, sealed, changed_at, last_used_at, name
             FROM wst_slots WHERE workspace = ?1 ORDER BY name",
        )?
        .query_map([workspace.as_str()], |row| {
            record(SlotKey::new(*workspace, parsed(row, 6)?), row)
        })?
        .collect()
}

pub(crate) fn history(
    connection: &Connection,
    key: &SlotKey,
) -> rusqlite::Result<Vec<HistoryEvent>> {
    connection
        .prepare_cached(
            "SELECT kind, generation, token_id, at, actor, reason
             FROM wst_history WHERE workspace = ?1 AND name = ?2 ORDER BY revision",
        )?
        .query_map(slot(key), event)?
        .collect()
}

pub(crate) fn sealed_with(
    connection: &Connection,
    key_id: &KeyId,
) -> rusqlite::Result<Vec<SlotKey>> {
    // Without an index, which every rotation would pay for: this is asked when keys are rotated.
    connection
        .prepare_cached(
            "SELECT workspace, name FROM wst_slots WHERE key_id = ?1 ORDER BY workspace, name",
        )?
        .query_map([key_id.as_str()], |row| {
            Ok(SlotKey::new(parsed(row, 0)?, parsed(row, 1)?))
        })?
        .collect()
}

pub(crate) fn live_slots(connection: &Connection) -> rusqlite::Result<Vec<LiveSlot>> {
    connection
        .prepare_cached(
            "SELECT workspace, name, key_id FROM wst_slots WHERE sealed IS NOT NULL
             ORDER BY workspace, name",
        )?
        .query_map([], |row| {
            let has_key = !matches!(row.get_ref(2)?, rusqlite::types::ValueRef::Null);
            Ok(LiveSlot {
                key: SlotKey::new(parsed(row, 0)?, parsed(row, 1)?),
                sealed_with: has_key.then(|| parsed(row, 2)).transpose()?,
            })
        })?
        .collect()
}

/// Returns the number of the last change; 0 if there was none.
pub(crate) fn last_change(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT ifnull(max(change), 0) FROM wst_slots")?
        .query_row([], |row| row.get(0))
}

/// Returns the changes after the one that is number `last`, and the number of the latest.
pub(crate) fn changes_after(
    connection: &Connection,
    last: i64,
) -> rusqlite::Result<(Vec<Change>, i64)> {
    let mut latest = last;
    let changes = connection
        .prepare_cached(
            "SELECT workspace, name, generation, change
             FROM wst_slots WHERE change > ?1 ORDER BY change",
        )?
        .query_map([last], |row| {
            latest = row.get(3)?;
            Ok(Change {
                key: SlotKey::new(parsed(row, 0)?, parsed(row, 1)?),
                generation: numbered(row, 2, Generation::from_number)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok((changes, latest))
}

/// Writes the row and its event, or neither.
///
/// An error leaves the transaction to be rolled back.
pub(crate) fn swap(connection: &Connection, swap: &Swap) -> rusqlite::Result<Swapped> {
    let rows = match swap.expected {
        None => create(connection, swap)?,
        Some(expected) => replace(connection, swap, expected)?,
    };
    if rows == 0 {
        return Ok(Swapped::Conflict);
    }
    if let Some(event) = &swap.event {
        record_event(connection, swap, event)?;
    }
    Ok(Swapped::Written)
}

fn create(connection: &Connection, swap: &Swap) -> rusqlite::Result<usize> {
    let next = &swap.next;
    connection
        .prepare_cached(
            "INSERT INTO wst_slots (workspace, name, revision, generation, token_id, sealed, key_id,
                 changed_at, last_used_at, change)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
                 (SELECT ifnull(max(change), 0) + 1 FROM wst_slots))
             ON CONFLICT (workspace, name) DO NOTHING",
        )?
        .execute(params![
            swap.key.workspace.as_str(),
            swap.key.name.as_str(),
            signed(next.revision.number()),
            signed(next.generation.number()),
            next.token_id.as_str(),
            next.sealed.as_ref().map(SealedToken::as_bytes),
            key_id(next).as_ref().map(KeyId::as_str),
            millis(next.changed_at),
            next.last_used_at.map(millis),
        ])
}

fn replace(connection: &Connection, swap: &Swap, expected: Revision) -> rusqlite::Result<usize> {
    let next = &swap.next;
    connection
        .prepare_cached(
            // Within a generation the last use only moves forward: a rewrap may have read an older one.
            "UPDATE wst_slots SET revision = ?3, generation = ?4, token_id = ?5, sealed = ?6, key_id = ?7,
                 changed_at = ?8,
                 last_used_at = CASE WHEN generation = ?4
                     THEN nullif(max(ifnull(last_used_at, -1), ifnull(?9, -1)), -1) ELSE ?9 END,
                 change = (SELECT max(change) + 1 FROM wst_slots)
             WHERE workspace = ?1 AND name = ?2 AND revision = ?10",
        )?
        .execute(params![
            swap.key.workspace.as_str(),
            swap.key.name.as_str(),
            signed(next.revision.number()),
            signed(next.generation.number()),
            next.token_id.as_str(),
            next.sealed.as_ref().map(SealedToken::as_bytes),
            key_id(next).as_ref().map(KeyId::as_str),
            millis(next.changed_at),
            next.last_used_at.map(millis),
            signed(expected.number()),
        ])
}

fn record_event(
    connection: &Connection,
    swap: &Swap,
    event: &HistoryEvent,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "INSERT INTO wst_history
                 (workspace, name, revision, kind, generation, token_id, at, actor, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            swap.key.workspace.as_str(),
            swap.key.name.as_str(),
            signed(swap.next.revision.number()),
            event.kind.as_str(),
            signed(event.generation.number()),
            event.token_id.as_str(),
            millis(event.at),
            event.actor,
            event.reason,
        ])
}

/// Notes the last use of each slot that is there, where it is later than the one that is known.
pub(crate) fn touch(
    connection: &Connection,
    used: &[(SlotKey, Timestamp)],
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE wst_slots SET last_used_at = ?3
         WHERE workspace = ?1 AND name = ?2 AND ifnull(last_used_at, -1) < ?3",
    )?;
    for (key, at) in used {
        statement.execute(params![
            key.workspace.as_str(),
            key.name.as_str(),
            millis(*at)
        ])?;
    }
    Ok(())
}

fn slot(key: &SlotKey) -> [&str; 2] {
    [key.workspace.as_str(), key.name.as_str()]
}

/// Reads the first six columns of a row of `wst_slots`.
fn record(key: SlotKey, row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    let revision = numbered(row, 0, Revision::from_number)?;
    let generation = numbered(row, 1, Generation::from_number)?;
    let token_id = parsed(row, 2)?;
    let sealed: Option<Vec<u8>> = row.get(3)?;
    let changed_at = timestamp(row, 4)?;
    let mut record = match sealed {
        Some(bytes) => {
            let sealed = SealedToken::from_bytes(bytes);
            TokenRecord::live(key, revision, generation, token_id, sealed, changed_at)
        }
        None => TokenRecord::tombstone(key, revision, generation, token_id, changed_at),
    };
    record.last_used_at = match row.get_ref(5)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(timestamp(row, 5)?),
    };
    Ok(record)
}

fn event(row: &Row<'_>) -> rusqlite::Result<HistoryEvent> {
    let word = row.get_ref(0)?.as_str()?;
    let kind = HistoryEventKind::from_word(word).ok_or_else(|| nonsense(0, Type::Text))?;
    let mut event = HistoryEvent::new(
        kind,
        numbered(row, 1, Generation::from_number)?,
        parsed(row, 2)?,
        timestamp(row, 3)?,
    );
    event.actor = row.get(4)?;
    event.reason = row.get(5)?;
    Ok(event)
}

/// Reads a number that has a type of its own.
pub(crate) fn numbered<T>(
    row: &Row<'_>,
    column: usize,
    from_number: impl FnOnce(u64) -> Option<T>,
) -> rusqlite::Result<T> {
    let number: i64 = row.get(column)?;
    u64::try_from(number)
        .ok()
        .and_then(from_number)
        .ok_or_else(|| nonsense(column, Type::Integer))
}

/// Reads an identifier.
pub(crate) fn parsed<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|_| nonsense(column, Type::Text))
}

fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    numbered(row, column, |millis| Some(Timestamp::from_millis(millis)))
}

fn nonsense(column: usize, kind: Type) -> rusqlite::Error {
    let reason = "the column holds what no version of this crate writes";
    rusqlite::Error::FromSqlConversionFailure(column, kind, reason.into())
}

fn key_id(record: &TokenRecord) -> Option<KeyId> {
    let sealed = record.sealed.as_ref()?;
    Some(Header::of(sealed)?.key_id())
}

pub(crate) fn millis(timestamp: Timestamp) -> i64 {
    signed(timestamp.as_millis())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
