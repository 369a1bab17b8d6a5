//! One store at four sizes, each ten times the last.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    child,
    database::{Scratch, settle},
    fill::fill,
    meter::rounded,
    place::{Kind, Place},
};

/// Each size has a database of its own: rotations of a smaller one leave history behind.
pub(crate) async fn measure(kind: Kind, url: &str, most: usize) -> anyhow::Result<Vec<Value>> {
    let mut rows = Vec::new();
    let sizes = [1_000, 10_000, 100_000, 1_000_000];
    for size in sizes.into_iter().filter(|size| *size <= most) {
        rows.push(Scratch::with(kind, url, async |place| of_size(place, size).await).await?);
    }
    Ok(rows)
}

async fn of_size(place: &Place, size: usize) -> anyhow::Result<Value> {
    let began = Instant::now();
    let sample = fill(place, size).await?;
    let bytes = settle(place).await?;
    eprintln!("{size} workspaces after {:.0?}", began.elapsed());
    let mut row = child::start(place, size, &sample)?;
    row["database_bytes_each"] = json!(rounded(bytes as f64 / size as f64));
    row["load"] = json!(crate::report::load());
    Ok(row)
}
