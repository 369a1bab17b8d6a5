//! All rows at once: for whoever rotates keys, or compares them with a rollback journal.

use std::pin::pin;

use futures_util::TryStreamExt;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tower_workspace_token::{
    id::{Generation, KeyId, SlotKey},
    store::{StoreError, journal::SlotReached},
};

use crate::{
    error::Failure,
    pool::Connections,
    queries::{numbered, parsed, read},
};

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

pub(crate) async fn sealed_with(
    connections: &Connections,
    key_id: &KeyId,
) -> Result<Vec<SlotKey>, Failure> {
    let rows = connections.read(SEALED_WITH, &[&key_id.as_str()]).await?;
    rows.iter()
        .map(|row| Ok(SlotKey::new(parsed(row, 0)?, parsed(row, 1)?)))
        .collect()
}

// Without an index, which every rotation would pay for: this is asked when keys are rotated.
const SEALED_WITH: &str =
    "SELECT workspace, name FROM wst_slots WHERE key_id = $1 ORDER BY workspace, name";

pub(crate) async fn live_slots(connections: &Connections) -> Result<Vec<LiveSlot>, Failure> {
    let rows = connections.read(LIVE, &[]).await?;
    rows.iter()
        .map(|row| {
            let has_key = read::<Option<&str>>(row, 2)?.is_some();
            Ok(LiveSlot {
                key: SlotKey::new(parsed(row, 0)?, parsed(row, 1)?),
                sealed_with: has_key.then(|| parsed(row, 2)).transpose()?,
            })
        })
        .collect()
}

const LIVE: &str = "
SELECT workspace, name, key_id FROM wst_slots WHERE sealed IS NOT NULL ORDER BY workspace, name";

/// Shows `each` slot, as they come in.
pub(crate) async fn for_each_slot<E: From<StoreError>>(
    connections: &Connections,
    mut each: impl FnMut(SlotReached) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |failure: Failure| E::from(failure.of_read());
    let limit = connections.limit();
    let mut lent = connections.lend().await.map_err(failed)?;
    let transaction = lent.client_mut().transaction();
    let transaction = transaction.await.map_err(|error| failed(error.into()))?;
    // All of them may take longer than one statement should.
    let unlimited = transaction.batch_execute("SET LOCAL statement_timeout = 0");
    unlimited.await.map_err(|error| failed(error.into()))?;
    let none: [&(dyn ToSql + Sync); 0] = [];
    let rows = transaction.query_raw(EACH, none).await;
    {
        let mut rows = pin!(rows.map_err(|error| failed(error.into()))?);
        loop {
            let next = timeout(limit, rows.try_next()).await;
            let next = next.map_err(|_| failed(Failure::TimedOut))?;
            let Some(row) = next.map_err(|error| failed(error.into()))? else {
                break;
            };
            let slot = (|| {
                let key = SlotKey::new(parsed(&row, 0)?, parsed(&row, 1)?);
                let generation = numbered(&row, 2, Generation::from_number)?;
                Ok(SlotReached::new(key, generation, parsed(&row, 3)?))
            })();
            each(slot.map_err(failed)?)?;
        }
    }
    let ended = transaction.commit();
    ended.await.map_err(|error| failed(error.into()))?;
    lent.give_back();
    Ok(())
}

const EACH: &str = "SELECT workspace, name, generation, token_id FROM wst_slots";
