//! Fills a store with workspaces of one token each, all genuine.
//!
//! They are issued into a store in memory, a batch at a time, and copied from there: a rotation or an issue of the
//! store itself waits for the disk, each by itself.

use std::ops::Range;

use anyhow::Context as _;
use tower_workspace_token::{
    Keys, MemoryStore, TokenAuthority, TokenName, TokenStore,
    cipher::envelope::Header,
    id::SlotKey,
    store::{HistoryEvent, TokenRecord},
};
use tower_workspace_token_sqlite::rusqlite::{Connection, params};

use crate::place::{Place, Store, workspace};

/// Tokens that measurements work with, spread over all workspaces, and the numbers of these.
pub(crate) type Sample = Vec<(usize, String)>;

type Row = (TokenRecord, Vec<HistoryEvent>);

/// Adds `size` workspaces to an empty database; returns tokens of some.
pub(crate) async fn fill(place: &Place, size: usize) -> anyhow::Result<Sample> {
    let (keys, mut sample) = (place.keys()?, Sample::new());
    // It makes the tables.
    let store = place.open().await?;
    let mut connection = match &store {
        Store::Postgres(_) => None,
        Store::Sqlite(store) => Some(for_bulk(store.connection()?)?),
    };
    for begin in (0..size).step_by(BATCH) {
        let rows = issue(&keys, begin..size.min(begin + BATCH), size, &mut sample).await?;
        match (&store, &mut connection) {
            (Store::Postgres(store), _) => {
                store.import(&rows).await?;
            }
            (Store::Sqlite(_), Some(connection)) => insert(connection, &rows, begin)?,
            _ => unreachable!("a SQLite store has a connection"),
        }
    }
    if let Store::Postgres(store) = &store {
        store.close().await;
    }
    Ok(sample)
}

async fn issue(
    keys: &Keys,
    numbers: Range<usize>,
    size: usize,
    sample: &mut Sample,
) -> anyhow::Result<Vec<Row>> {
    let memory = MemoryStore::new();
    let authority = TokenAuthority::builder(memory.clone(), keys.clone()).build()?;
    let mut rows = Vec::with_capacity(numbers.len());
    for number in numbers {
        let key = SlotKey::new(workspace(number), TokenName::primary());
        let issued = authority.issue(&key.workspace, &key.name).await?;
        if number.is_multiple_of((size / SAMPLE).max(1)) {
            sample.push((number, issued.expose_secret().to_owned()));
        }
        let record = TokenStore::get(&memory, &key).await?.context("a row")?;
        rows.push((record, TokenStore::history(&memory, &key).await?));
    }
    Ok(rows)
}

/// A crash may cost the file, which nobody misses.
fn for_bulk(connection: Connection) -> anyhow::Result<Connection> {
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000")?;
    Ok(connection)
}

fn insert(connection: &mut Connection, rows: &[Row], begin: usize) -> anyhow::Result<()> {
    let transaction = connection.transaction()?;
    let mut slot = transaction.prepare_cached(
        "INSERT INTO wst_slots (workspace, name, revision, generation, token_id, sealed, key_id, changed_at, change)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let mut event = transaction.prepare_cached(
        "INSERT INTO wst_history (workspace, name, revision, kind, generation, token_id, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (place, (record, history)) in rows.iter().enumerate() {
        let (workspace, name) = (record.key.workspace.as_str(), record.key.name.as_str());
        let sealed = record.sealed.as_ref().context("a live token")?;
        let key_id = Header::of(sealed).context("an envelope")?.key_id();
        slot.execute(params![
            workspace,
            name,
            record.revision.number() as i64,
            record.generation.number() as i64,
            record.token_id.as_str(),
            sealed.as_bytes(),
            key_id.as_str(),
            record.changed_at.as_millis() as i64,
            (begin + place + 1) as i64,
        ])?;
        for noted in history {
            event.execute(params![
                workspace,
                name,
                record.revision.number() as i64,
                noted.kind.as_str(),
                noted.generation.number() as i64,
                noted.token_id.as_str(),
                noted.at.as_millis() as i64,
            ])?;
        }
    }
    drop((slot, event));
    Ok(transaction.commit()?)
}

const BATCH: usize = 1000;

/// About as many tokens are returned at most.
const SAMPLE: usize = 40_000;
