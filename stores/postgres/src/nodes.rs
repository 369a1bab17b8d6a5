//! The table of processes that trust their memory: how one gets into it, stays in it, and leaves it.
//!
//! A rotation waits for those in the table. So a process is in it before it trusts anything, and is taken out only
//! when its memory is dead: it confirms nothing unless its last beat is recent, and who has not beaten for
//! [`SILENCE`] is gone.

use std::{collections::HashMap, time::Duration};

use tokio::time::sleep;
use tokio_postgres::{Client, Error};
use tower_workspace_token::clock::{Clock, Moment};

use crate::{error::Failure, pool::Connections, queries::read, schema::millis};

/// How old the last beat may be when a look begins. Together with the longest lease, less than [`SILENCE`].
pub(crate) const BEAT: Duration = Duration::from_secs(2);

/// How long others see no beat before they take a node for gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// A process that trusts its memory of the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its random name, made when the store was opened.
    pub id: String,
    /// Whether it is the store that was asked.
    pub is_this: bool,
    /// How long it has been silent, by the clock of the server: some two seconds at most, unless it is gone or frozen.
    pub silent_for: Duration,
}

pub(crate) async fn all(connections: &Connections, this: &str) -> Result<Vec<Node>, Failure> {
    let rows = connections.read(ALL, &[]).await?;
    rows.iter()
        .map(|row| {
            let id: String = read(row, 0)?;
            let silent: i64 = read(row, 1)?;
            Ok(Node {
                is_this: id == this,
                id,
                silent_for: Duration::from_millis(silent.try_into().unwrap_or(0)),
            })
        })
        .collect()
}

const ALL: &str = "
SELECT node, (date_part('epoch', clock_timestamp() - beat_at) * 1000::float8)::int8 FROM wst_nodes ORDER BY node";

/// Enters the table, durably, unless this is another database, or has another lease, than when it was opened; returns whether it did.
pub(crate) async fn register(
    client: &Client,
    node: &str,
    database_id: &str,
    lease: Duration,
) -> Result<bool, Error> {
    let entered = client
        .execute(REGISTER, &[&node, &database_id, &millis(lease)])
        .await?;
    // From here on: a beat that a crash of the server loses makes others wait, and no more.
    client.batch_execute("SET synchronous_commit = off").await?;
    Ok(entered > 0)
}

// What it acknowledged in an earlier life is forgotten: the rows may be those of a restored dump.
const REGISTER: &str = "
INSERT INTO wst_nodes AS present (node, beat, beat_at)
SELECT $1, 1, clock_timestamp() FROM wst_meta WHERE database_id = $2 AND lease_millis = $3 FOR SHARE
ON CONFLICT (node) DO UPDATE SET beat = present.beat + 1, beat_at = excluded.beat_at, acknowledged = NULL";

/// Shows that this node is there; returns whether it is still in the table.
pub(crate) async fn beat(client: &Client, node: &str) -> Result<bool, Error> {
    Ok(client.execute(BEAT_SQL, &[&node]).await? > 0)
}

const BEAT_SQL: &str =
    "UPDATE wst_nodes SET beat = beat + 1, beat_at = clock_timestamp() WHERE node = $1";

/// Says that everything was reported that `snapshot` sees; returns whether this node is still in the table.
pub(crate) async fn acknowledge(
    client: &Client,
    node: &str,
    snapshot: &str,
) -> Result<bool, Error> {
    Ok(client.execute(ACKNOWLEDGE, &[&node, &snapshot]).await? > 0)
}

const ACKNOWLEDGE: &str = "
UPDATE wst_nodes SET acknowledged = $2::text::pg_snapshot, beat = beat + 1, beat_at = clock_timestamp()
WHERE node = $1";

pub(crate) async fn leave(client: &Client, node: &str) -> Result<(), Error> {
    client
        .execute("DELETE FROM wst_nodes WHERE node = $1", &[&node])
        .await?;
    Ok(())
}

/// Takes out of the table who is silent, as this process sees it by its own clock.
#[derive(Debug, Default)]
pub(crate) struct Janitor {
    /// The last beat of each other node, and when it was first seen.
    seen: HashMap<String, (i64, Moment)>,
}

impl Janitor {
    pub(crate) async fn sweep(
        &mut self,
        client: &Client,
        this: &str,
        clock: &dyn Clock,
    ) -> Result<(), Error> {
        let rows = client.query(BEATS, &[&this]).await?;
        let now = clock.moment();
        let mut seen = HashMap::new();
        for row in &rows {
            let (node, beat): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
            let since = match self.seen.get(&node) {
                Some((last, since)) if *last == beat => *since,
                _ => now,
            };
            if now.saturating_since(since) >= SILENCE {
                client.execute(BURY, &[&node, &beat]).await?;
            } else {
                seen.insert(node, (beat, since));
            }
        }
        self.seen = seen;
        Ok(())
    }
}

const BEATS: &str = "SELECT node, beat FROM wst_nodes WHERE node <> $1";

// With the beat that was seen: one that has woken up meanwhile stays.
const BURY: &str = "DELETE FROM wst_nodes WHERE node = $1 AND beat = $2";

/// Waits as long as it takes to know who is silent, and takes those out of the table.
pub(crate) async fn bury_silent(client: &Client) -> Result<(), Error> {
    let before = client.query(BEATS, &[&""]).await?;
    sleep(SILENCE).await;
    for row in &before {
        let (node, beat): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        client.execute(BURY, &[&node, &beat]).await?;
    }
    Ok(())
}
