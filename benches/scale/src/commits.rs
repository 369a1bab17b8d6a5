//! What a notification does to commits that happen side by side, by statements like those of a rotation.
//!
//! PostgreSQL takes a lock over the whole server before a commit that notifies, and holds it until the commit is on
//! the disk: such commits don't share a sync.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    database::{Scratch, connect},
    meter::{rounded, together},
    place::Kind,
};

pub(crate) async fn measure(url: &str) -> anyhow::Result<Vec<Value>> {
    Scratch::with(Kind::Postgres, url, async |place| {
        let client = connect(&place.database).await?;
        client.batch_execute(TABLES).await?;
        let mut rows = Vec::new();
        for writers in [1, 8, 32] {
            let mut row = json!({"writers": writers, "load": crate::report::load()});
            for (name, sql) in [("without", WITHOUT), ("with", WITH)] {
                let mut rates = Vec::new();
                for _ in 0..SLICES {
                    rates.push(commits(&place.database, sql, writers).await?);
                }
                rates.sort_by(f64::total_cmp);
                let median = rates.get(SLICES / 2).context("a slice")?;
                row[format!("{name}_notification_per_s")] = json!(rounded(*median));
                let best = rates.last().context("a slice")?;
                row[format!("{name}_best")] = json!(rounded(*best));
            }
            rows.push(row);
        }
        Ok(rows)
    })
    .await
}

async fn commits(url: &str, sql: &str, writers: usize) -> anyhow::Result<f64> {
    let mut sessions = Vec::new();
    for _ in 0..writers {
        let client = connect(url).await?;
        let statement = client.prepare(sql).await?;
        sessions.push((client, statement));
    }
    let sessions = Arc::new(sessions);
    let began = Instant::now();
    let done = together(writers, SLICE, move |writer, _| {
        let sessions = Arc::clone(&sessions);
        let slot = i32::try_from(writer).unwrap_or(0);
        Some(async move {
            let (client, statement) = &sessions[writer];
            client.query(statement, &[&slot]).await?;
            Ok(())
        })
    })
    .await?;
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

const TABLES: &str = "
CREATE TABLE slots (slot int PRIMARY KEY, revision int NOT NULL, sealed bytea NOT NULL);
INSERT INTO slots SELECT slot, 0, decode(repeat('ab', 350), 'hex') FROM generate_series(0, 63) slot;
CREATE TABLE history (slot int NOT NULL, revision int NOT NULL, PRIMARY KEY (slot, revision));";

const WITHOUT: &str = "
WITH written AS (
    UPDATE slots SET revision = revision + 1, sealed = sealed || ''::bytea WHERE slot = $1 RETURNING revision
), noted AS (INSERT INTO history SELECT $1, revision FROM written)
SELECT revision::text FROM written";

const WITH: &str = "
WITH written AS (
    UPDATE slots SET revision = revision + 1, sealed = sealed || ''::bytea WHERE slot = $1 RETURNING revision
), noted AS (INSERT INTO history SELECT $1, revision FROM written)
SELECT pg_notify('wst_scale', '')::text FROM written";

const SLICES: usize = 5;
const SLICE: Duration = Duration::from_millis(700);
