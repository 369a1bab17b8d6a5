//! Rows as they are, from another store: for a move of all tokens.

use std::{collections::HashSet, time::Duration};

use tokio::time::timeout;
use tokio_postgres::{Transaction, types::ToSql};
use tower_workspace_token::{
    id::{KeyId, SlotKey},
    store::{HistoryEvent, StoreError, StoreErrorKind, TokenRecord},
    token::SealedToken,
};

use crate::{
    error::Failure,
    pool::Connections,
    queries::{Change, key_id, millis, parsed, read, signed},
};

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Slots that were brought in.
    pub inserted: usize,
    /// Slots that were there already, with the same content.
    pub skipped: usize,
}

/// How long the rows of one import may take: longer than other operations, since they are many.
const LIMIT: Duration = Duration::from_secs(60);

/// Inserts all of `rows` in one transaction; returns what it did, and what observers have to be told.
pub(crate) async fn import(
    connections: &Connections,
    channel: &str,
    rows: &[(TokenRecord, Vec<HistoryEvent>)],
) -> Result<(Imported, Vec<Change>), StoreError> {
    let importing = timeout(LIMIT, import_now(connections, channel, rows));
    importing
        .await
        .unwrap_or_else(|_| Err(Failure::TimedOut.of_write()))
}

async fn import_now(
    connections: &Connections,
    channel: &str,
    rows: &[(TokenRecord, Vec<HistoryEvent>)],
) -> Result<(Imported, Vec<Change>), StoreError> {
    if names_one_twice(rows) {
        return Err(StoreError::new(StoreErrorKind::Conflict));
    }
    let mut lent = connections.lend().await.map_err(Failure::of_write)?;
    let before = |error: tokio_postgres::Error| Failure::Unprepared(error).of_write();
    let transaction = lent.client_mut().transaction().await.map_err(before)?;
    transaction
        .batch_execute("SET LOCAL statement_timeout = 0")
        .await
        .map_err(before)?;
    let inserted = insert(&transaction, rows).await.map_err(Failure::of_read)?;
    let is_new = |key: &SlotKey| inserted.binary_search(key).is_ok();
    for (record, _) in rows.iter().filter(|(record, _)| !is_new(&record.key)) {
        if !is_there(&transaction, record)
            .await
            .map_err(Failure::of_read)?
        {
            return Err(StoreError::new(StoreErrorKind::Conflict));
        }
    }
    let new = rows.iter().filter(|(record, _)| is_new(&record.key));
    insert_history(&transaction, new)
        .await
        .map_err(Failure::of_read)?;
    transaction
        .execute("SELECT pg_notify($1, '')", &[&channel])
        .await
        .map_err(before)?;
    transaction
        .commit()
        .await
        .map_err(|error| Failure::Failed(error).of_write())?;
    lent.give_back();
    let imported = Imported {
        inserted: inserted.len(),
        skipped: rows.len() - inserted.len(),
    };
    let changes = rows.iter().map(|(record, _)| Change {
        key: record.key,
        generation: record.generation,
    });
    Ok((
        imported,
        changes.filter(|change| is_new(&change.key)).collect(),
    ))
}

fn names_one_twice(rows: &[(TokenRecord, Vec<HistoryEvent>)]) -> bool {
    let mut seen = HashSet::new();
    !rows.iter().all(|(record, _)| seen.insert(record.key))
}

/// Returns the slots that were not there, in their order.
async fn insert(
    transaction: &Transaction<'_>,
    rows: &[(TokenRecord, Vec<HistoryEvent>)],
) -> Result<Vec<SlotKey>, Failure> {
    let records = || rows.iter().map(|(record, _)| record);
    let workspaces: Vec<&str> = records().map(|row| row.key.workspace.as_str()).collect();
    let names: Vec<&str> = records().map(|row| row.key.name.as_str()).collect();
    let revisions: Vec<i64> = records().map(|row| signed(row.revision.number())).collect();
    let generations: Vec<i64> = records()
        .map(|row| signed(row.generation.number()))
        .collect();
    let token_ids: Vec<&str> = records().map(|row| row.token_id.as_str()).collect();
    let sealed: Vec<Option<&[u8]>> = records()
        .map(|row| row.sealed.as_ref().map(SealedToken::as_bytes))
        .collect();
    let keys: Vec<Option<KeyId>> = records().map(key_id).collect();
    let keys: Vec<Option<&str>> = keys
        .iter()
        .map(|key| key.as_ref().map(KeyId::as_str))
        .collect();
    let changed: Vec<i64> = records().map(|row| millis(row.changed_at)).collect();
    let used: Vec<Option<i64>> = records().map(|row| row.last_used_at.map(millis)).collect();
    let parameters: [&(dyn ToSql + Sync); 9] = [
        &workspaces,
        &names,
        &revisions,
        &generations,
        &token_ids,
        &sealed,
        &keys,
        &changed,
        &used,
    ];
    let inserted = transaction.query(INSERT, &parameters).await?;
    let mut inserted: Vec<SlotKey> = inserted
        .iter()
        .map(|row| Ok(SlotKey::new(parsed(row, 0)?, parsed(row, 1)?)))
        .collect::<Result<_, Failure>>()?;
    inserted.sort_unstable();
    Ok(inserted)
}

const INSERT: &str = "
INSERT INTO wst_slots (workspace, name, revision, generation, token_id, sealed, key_id, changed_at,
    last_used_at, changed_in)
SELECT *, pg_current_xact_id()
FROM unnest($1::text[], $2::text[], $3::int8[], $4::int8[], $5::text[], $6::bytea[], $7::text[],
    $8::int8[], $9::int8[])
ON CONFLICT (workspace, name) DO NOTHING RETURNING workspace, name";

/// Returns whether the row is there as it is; when it was last used does not count.
async fn is_there(transaction: &Transaction<'_>, record: &TokenRecord) -> Result<bool, Failure> {
    let parameters: [&(dyn ToSql + Sync); 7] = [
        &record.key.workspace.as_str(),
        &record.key.name.as_str(),
        &signed(record.revision.number()),
        &signed(record.generation.number()),
        &record.token_id.as_str(),
        &record.sealed.as_ref().map(SealedToken::as_bytes),
        &millis(record.changed_at),
    ];
    let found = transaction.query_one(IS_THERE, &parameters).await?;
    read(&found, 0)
}

const IS_THERE: &str = "
SELECT EXISTS (SELECT FROM wst_slots
    WHERE workspace = $1 AND name = $2 AND revision = $3 AND generation = $4 AND token_id = $5
    AND sealed IS NOT DISTINCT FROM $6 AND changed_at = $7)";

/// Numbers the events of a slot so that the last has the revision of its row: what is to come has higher ones.
async fn insert_history<'a>(
    transaction: &Transaction<'_>,
    rows: impl Iterator<Item = &'a (TokenRecord, Vec<HistoryEvent>)>,
) -> Result<(), Failure> {
    let mut events: Vec<(SlotKey, i64, &HistoryEvent)> = Vec::new();
    for (record, history) in rows {
        let last = signed(record.revision.number());
        for (event, number) in history.iter().rev().zip(0_i64..) {
            events.push((record.key, last - number, event));
        }
    }
    let workspaces: Vec<&str> = events
        .iter()
        .map(|(key, ..)| key.workspace.as_str())
        .collect();
    let names: Vec<&str> = events.iter().map(|(key, ..)| key.name.as_str()).collect();
    let revisions: Vec<i64> = events.iter().map(|(_, revision, _)| *revision).collect();
    let events = || events.iter().map(|(.., event)| event);
    let kinds: Vec<&str> = events().map(|event| event.kind.as_str()).collect();
    let generations: Vec<i64> = events()
        .map(|event| signed(event.generation.number()))
        .collect();
    let token_ids: Vec<&str> = events().map(|event| event.token_id.as_str()).collect();
    let times: Vec<i64> = events().map(|event| millis(event.at)).collect();
    let actors: Vec<Option<&str>> = events().map(|event| event.actor.as_deref()).collect();
    let reasons: Vec<Option<&str>> = events().map(|event| event.reason.as_deref()).collect();
    let parameters: [&(dyn ToSql + Sync); 9] = [
        &workspaces,
        &names,
        &revisions,
        &kinds,
        &generations,
        &token_ids,
        &times,
        &actors,
        &reasons,
    ];
    transaction.execute(INSERT_HISTORY, &parameters).await?;
    Ok(())
}

const INSERT_HISTORY: &str = "
INSERT INTO wst_history
SELECT * FROM unnest($1::text[], $2::text[], $3::int8[], $4::text[], $5::int8[], $6::text[], $7::int8[],
    $8::text[], $9::text[])";
