//! The table through which nodes tell each other what has changed, and how one reads on in it.
//!
//! A row carries the id of the transaction that wrote it. Who reads asks for the rows of all transactions that
//! had not ended at the look before, so that none is missed, in whatever order they commit; what they saw
//! already they pass over. A place in the table is worth something on one connection only: after a crash of the
//! database, ids of transactions are given again.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tower_workspace_token_postgres::{
    deadpool_postgres::{ClientWrapper, Object},
    tokio_postgres::{self, Row},
};

use crate::{
    db::{DatabaseError, Transaction, params},
    tasks::Announcement,
};

/// What a row holds.
#[derive(Debug)]
pub(super) enum Told {
    Said(Said),
    /// What only a newer version knows.
    Unknown,
}

/// Something that a node tells the others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Said {
    /// Where it happened; absent if in no workspace, or in all.
    pub(super) workspace: Option<String>,
    pub(super) announcement: Announcement,
}

/// Writes what `node` tells the others.
pub(super) fn put(
    transaction: &Transaction<'_>,
    node: &str,
    said: impl IntoIterator<Item = Said>,
) -> Result<(), DatabaseError> {
    let mut statement =
        transaction.prepare_cached("INSERT INTO announcements (node, said) VALUES (?1, ?2)")?;
    for said in said {
        let said = serde_json::to_string(&said).map_err(DatabaseError::unreadable)?;
        statement.execute(params![node, said])?;
    }
    Ok(())
}

/// How far a node has read, on a connection of its own.
pub(super) struct Reader {
    /// Not one of the pool's any more: whatever it is in the midst of when this is dropped ends with it.
    client: ClientWrapper,
    node: String,
    /// The id of the oldest transaction that had not ended at the last look.
    from: String,
    /// The rows from there on that were read already.
    seen: HashSet<i64>,
}

impl Reader {
    /// Begins to read: what is told from now on.
    pub(super) async fn begin(client: Object, node: &str) -> Result<Self, DatabaseError> {
        let mut reader = Self {
            client: Object::take(client),
            node: node.to_owned(),
            from: String::new(),
            seen: HashSet::new(),
        };
        let now = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text";
        reader.from = reader.client.query_one(now, &[]).await?.try_get(0)?;
        // What is there already was told before: an answer to a permission request would be given twice.
        reader.read().await?;
        Ok(reader)
    }

    /// Returns what the others have told since the last look, in the order in which they did; and the answers that
    /// this node has given, which it does not know of if the commit had no answer.
    pub(super) async fn read(&mut self) -> Result<Vec<Told>, DatabaseError> {
        let statement = self.client.prepare_cached(READ).await?;
        let seen: Vec<i64> = self.seen.iter().copied().collect();
        let rows = self
            .client
            .query(&statement, &[&self.from, &self.node, &seen])
            .await?;
        let mut told = Vec::new();
        let mut seen = HashSet::new();
        for row in &rows {
            self.from = row.try_get(0)?;
            let Some(number) = row.try_get::<_, Option<i64>>(1)? else {
                // There is none, and the row is there for the place alone.
                continue;
            };
            seen.insert(number);
            // Without its text where it was read before.
            if !self.seen.contains(&number) {
                told.push(parse(row)?);
            }
        }
        self.seen = seen;
        Ok(told)
    }

    /// Forgets what every node has long read.
    pub(super) async fn sweep(&self) -> Result<(), DatabaseError> {
        self.client.execute(SWEEP, &[]).await?;
        Ok(())
    }
}

fn parse(row: &Row) -> Result<Told, tokio_postgres::Error> {
    let said = serde_json::from_str(row.try_get(2)?);
    Ok(said.map_or(Told::Unknown, Told::Said))
}

// One statement, and so one snapshot: what it does not see is of a transaction from `xmin` on.
const READ: &str = r#"
SELECT pg_snapshot_xmin(now.snapshot)::text, told.number,
    CASE WHEN told.number = ANY($3) THEN NULL ELSE told.said END
FROM (SELECT pg_current_snapshot() AS snapshot) AS now
LEFT JOIN announcements AS told ON told.written_in >= $1::text::xid8
    AND (told.node <> $2 OR told.said LIKE '%"Verdict":%')
ORDER BY told.number"#;

const SWEEP: &str = "DELETE FROM announcements WHERE at < now() - interval '2 minutes'";
