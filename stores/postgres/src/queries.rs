//! Every statement about slots and their history, and how a row becomes a record.

use std::time::Duration;

use tokio_postgres::Row;
use tower_workspace_token::{
    cipher::envelope::Header,
    clock::Timestamp,
    id::{Generation, KeyId, Revision, SlotKey, WorkspaceId},
    store::{ChangeObserver, HistoryEvent, HistoryEventKind, TokenRecord},
    token::SealedToken,
};

use crate::{error::Failure, pool::Connections, schema};

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

pub(crate) async fn find(
    connections: &Connections,
    key: &SlotKey,
) -> Result<Option<TokenRecord>, Failure> {
    let (workspace, name) = (key.workspace.as_str(), key.name.as_str());
    let rows = connections.read(FIND, &[&workspace, &name]).await?;
    rows.first().map(|row| record(*key, row)).transpose()
}

const FIND: &str = "
SELECT revision, generation, token_id, sealed, changed_at, last_used_at
FROM wst_slots WHERE workspace = $1 AND name = $2";

pub(crate) async fn list(
    connections: &Connections,
    workspace: &WorkspaceId,
) -> Result<Vec<TokenRecord>, Failure> {
    let rows = connections.read(LIST, &[&workspace.as_str()]).await?;
    rows.iter()
        .map(|row| record(SlotKey::new(*workspace, parsed(row, 6)?), row))
        .collect()
}

const LIST: &str = "
SELECT revision, generation, token_id, sealed, changed_at, last_used_at, name
FROM wst_slots WHERE workspace = $1 ORDER BY name";

pub(crate) async fn history(
    connections: &Connections,
    key: &SlotKey,
) -> Result<Vec<HistoryEvent>, Failure> {
    let (workspace, name) = (key.workspace.as_str(), key.name.as_str());
    let rows = connections.read(HISTORY, &[&workspace, &name]).await?;
    rows.iter().map(event).collect()
}

const HISTORY: &str = "
SELECT kind, generation, token_id, at, actor, reason
FROM wst_history WHERE workspace = $1 AND name = $2 ORDER BY revision";

/// What a write is bound to beside its row.
pub(crate) struct Terms<'a> {
    /// Whom to notify.
    pub(crate) channel: &'a str,
    /// What the writer waits for, if the database still has it.
    pub(crate) lease: Duration,
}

/// Writes the row and its event, or neither, and notifies all who listen; returns whether the revision was the expected one.
///
/// # Errors
/// Nothing is written where the lease is another: others might trust their memory for longer than the writer would wait.
pub(crate) async fn swap(
    connections: &Connections,
    Terms { channel, lease }: Terms<'_>,
    key: &SlotKey,
    expected: Option<Revision>,
    next: &TokenRecord,
    event: Option<&HistoryEvent>,
) -> Result<bool, Failure> {
    let key_id = key_id(next);
    let (workspace, name) = (key.workspace.as_str(), key.name.as_str());
    let revision = signed(next.revision.number());
    let generation = signed(next.generation.number());
    let token_id = next.token_id.as_str();
    let sealed = next.sealed.as_ref().map(SealedToken::as_bytes);
    let key_id = key_id.as_ref().map(KeyId::as_str);
    let changed_at = millis(next.changed_at);
    let last_used_at = next.last_used_at.map(millis);
    let kind = event.map(|event| event.kind.as_str());
    let event_generation = event.map(|event| signed(event.generation.number()));
    let event_token_id = event.map(|event| event.token_id.as_str().to_owned());
    let at = event.map(|event| millis(event.at));
    let actor = event.and_then(|event| event.actor.as_deref());
    let reason = event.and_then(|event| event.reason.as_deref());
    let lease = schema::millis(lease);
    let replaced = expected.map(|expected| signed(expected.number()));
    let sql = if expected.is_some() { REPLACE } else { CREATE };
    let mut parameters: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = vec![
        &workspace,
        &name,
        &revision,
        &generation,
        &token_id,
        &sealed,
        &key_id,
        &changed_at,
        &last_used_at,
        &kind,
        &event_generation,
        &event_token_id,
        &at,
        &actor,
        &reason,
        &channel,
        &lease,
    ];
    if replaced.is_some() {
        parameters.push(&replaced);
    }
    let answer = connections.run(sql, &parameters).await?;
    let answer = answer.first().ok_or_else(nonsense)?;
    match read(answer, 0)? {
        true => read(answer, 1),
        false => Err(Failure::LeaseChanged),
    }
}

/// What both ways to write a row have in common: the lease before it, its event after it, and the notification, which is sent
/// with the commit.
///
/// The lease is read without a lock: whoever changes it waits until no write is under way that has read it ([`schema`]).
macro_rules! with_event {
    ($write:literal) => {
        concat!(
            "WITH agreed AS (
                 SELECT FROM wst_meta WHERE lease_millis = $17::int4
             ), written AS (",
            $write,
            "), noted AS (
                 INSERT INTO wst_history
                     (workspace, name, revision, kind, generation, token_id, at, actor, reason)
                 SELECT $1::text, $2::text, $3::int8, $10::text, $11::int8, $12::text, $13::int8, $14::text, $15::text
                 FROM written WHERE $10::text IS NOT NULL
             )
             SELECT EXISTS (SELECT FROM agreed), EXISTS (SELECT FROM written),
                 (SELECT pg_notify($16::text, '')::text FROM written)"
        )
    };
}

const CREATE: &str = with_event!(
    "INSERT INTO wst_slots (workspace, name, revision, generation, token_id, sealed, key_id,
         changed_at, last_used_at, changed_in)
     SELECT $1::text, $2::text, $3::int8, $4::int8, $5::text, $6::bytea, $7::text, $8::int8, $9::int8,
         pg_current_xact_id()
     FROM agreed
     ON CONFLICT (workspace, name) DO NOTHING RETURNING 1"
);

// Within a generation the last use only moves forward: a rewrap may have read an older one.
const REPLACE: &str = with_event!(
    "UPDATE wst_slots SET revision = $3::int8, generation = $4::int8, token_id = $5::text,
         sealed = $6::bytea, key_id = $7::text, changed_at = $8::int8,
         last_used_at = CASE WHEN generation = $4::int8 THEN greatest(last_used_at, $9::int8)
             ELSE $9::int8 END,
         changed_in = pg_current_xact_id()
     WHERE workspace = $1::text AND name = $2::text AND revision = $18::int8
         AND EXISTS (SELECT FROM agreed)
     RETURNING 1"
);

/// Notes the last use of each slot that is there, where it is later than the one that is known.
pub(crate) async fn touch(
    connections: &Connections,
    used: &[(SlotKey, Timestamp)],
) -> Result<(), Failure> {
    let workspaces: Vec<&str> = used.iter().map(|(key, _)| key.workspace.as_str()).collect();
    let names: Vec<&str> = used.iter().map(|(key, _)| key.name.as_str()).collect();
    let times: Vec<i64> = used.iter().map(|(_, at)| millis(*at)).collect();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&workspaces, &names, &times];
    connections.run(TOUCH, &parameters).await?;
    Ok(())
}

// What somebody else has locked is skipped: a note of a use neither waits for a transaction nor makes a rotation wait.
const TOUCH: &str = "
WITH used AS (
    SELECT workspace, name, max(at) AS at
    FROM unnest($1::text[], $2::text[], $3::int8[]) AS used (workspace, name, at)
    GROUP BY workspace, name
), free AS (
    SELECT slot.workspace, slot.name, used.at
    FROM wst_slots slot JOIN used USING (workspace, name)
    WHERE slot.last_used_at IS NULL OR slot.last_used_at < used.at
    FOR NO KEY UPDATE OF slot SKIP LOCKED
)
UPDATE wst_slots slot SET last_used_at = free.at
FROM free WHERE slot.workspace = free.workspace AND slot.name = free.name";

/// Reads the first six columns of a row of `wst_slots`.
fn record(key: SlotKey, row: &Row) -> Result<TokenRecord, Failure> {
    let revision = numbered(row, 0, Revision::from_number)?;
    let generation = numbered(row, 1, Generation::from_number)?;
    let token_id = parsed(row, 2)?;
    let sealed: Option<Vec<u8>> = read(row, 3)?;
    let changed_at = timestamp(row, 4)?;
    let mut record = match sealed {
        Some(bytes) => {
            let sealed = SealedToken::from_bytes(bytes);
            TokenRecord::live(key, revision, generation, token_id, sealed, changed_at)
        }
        None => TokenRecord::tombstone(key, revision, generation, token_id, changed_at),
    };
    record.last_used_at = match read::<Option<i64>>(row, 5)? {
        None => None,
        Some(_) => Some(timestamp(row, 5)?),
    };
    Ok(record)
}

fn event(row: &Row) -> Result<HistoryEvent, Failure> {
    let kind = HistoryEventKind::from_word(read(row, 0)?).ok_or_else(nonsense)?;
    let mut event = HistoryEvent::new(
        kind,
        numbered(row, 1, Generation::from_number)?,
        parsed(row, 2)?,
        timestamp(row, 3)?,
    );
    event.actor = read(row, 4)?;
    event.reason = read(row, 5)?;
    Ok(event)
}

/// Reads a column.
pub(crate) fn read<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    column: usize,
) -> Result<T, Failure> {
    row.try_get(column)
        .map_err(|error| Failure::Nonsense(error.into()))
}

/// Reads a number that has a type of its own.
pub(crate) fn numbered<T>(
    row: &Row,
    column: usize,
    from_number: impl FnOnce(u64) -> Option<T>,
) -> Result<T, Failure> {
    let number: i64 = read(row, column)?;
    u64::try_from(number)
        .ok()
        .and_then(from_number)
        .ok_or_else(nonsense)
}

/// Reads an identifier.
pub(crate) fn parsed<T: std::str::FromStr>(row: &Row, column: usize) -> Result<T, Failure> {
    let text: &str = read(row, column)?;
    text.parse().map_err(|_| nonsense())
}

fn timestamp(row: &Row, column: usize) -> Result<Timestamp, Failure> {
    numbered(row, column, |millis| Some(Timestamp::from_millis(millis)))
}

fn nonsense() -> Failure {
    Failure::Nonsense("a column holds what no version of this crate writes".into())
}

pub(crate) fn key_id(record: &TokenRecord) -> Option<KeyId> {
    let sealed = record.sealed.as_ref()?;
    Some(Header::of(sealed)?.key_id())
}

pub(crate) fn millis(timestamp: Timestamp) -> i64 {
    signed(timestamp.as_millis())
}

pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
