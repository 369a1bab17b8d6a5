//! The rows of tokens with their histories: read by the one store, written and compared by the other.

use anyhow::Context as _;
use tokio::task::JoinSet;
use tower_workspace_token::{
    id::SlotKey,
    store::{HistoryEvent, TokenRecord, TokenStore},
};

use super::{Progress, differs, source::Source, target::Target};

/// A row of a token, and what has happened to it.
type Slot = (TokenRecord, Vec<HistoryEvent>);

/// Brings in all slots that are not there yet; returns how many those were.
pub(super) async fn copy(
    source: &Source,
    target: &Target,
    slots: &[SlotKey],
    progress: &mut Progress<'_>,
) -> anyhow::Result<u64> {
    let there = slots_of(target).await?;
    let is_there = |slot: &SlotKey| there.binary_search(slot).is_ok();
    let missing: Vec<SlotKey> = slots
        .iter()
        .filter(|slot| !is_there(slot))
        .copied()
        .collect();
    progress.add(slots.len() - missing.len());
    for page in missing.chunks(IMPORTED_AT_ONCE) {
        let mut rows = Vec::with_capacity(page.len());
        for key in page {
            rows.push(slot(&source.store, key).await?.context("a token is gone")?);
        }
        target.store.import(&rows).await?;
        progress.add(rows.len());
    }
    Ok(missing.len() as u64)
}

/// Compares all slots.
pub(super) async fn compare(
    source: &Source,
    target: &Target,
    slots: &[SlotKey],
    progress: &mut Progress<'_>,
) -> anyhow::Result<()> {
    let there = slots_of(target).await?;
    if let Some(more) = there.iter().find(|slot| slots.binary_search(slot).is_err()) {
        return Err(differs(&name(more), "is in PostgreSQL alone").into());
    }
    for page in slots.chunks(READ_AT_ONCE) {
        let mut reads = JoinSet::new();
        for key in page {
            let (store, key) = (target.store.clone(), *key);
            reads.spawn(async move { (key, slot(&store, &key).await) });
        }
        while let Some(read) = reads.join_next().await {
            let (key, theirs) = read?;
            let ours = slot(&source.store, &key)
                .await?
                .context("a token is gone")?;
            match theirs? {
                None => return Err(differs(&name(&key), "is missing in PostgreSQL").into()),
                Some(theirs) if theirs.0 != ours.0 => {
                    return Err(differs(&name(&key), "has another content").into());
                }
                Some(theirs) if theirs.1 != ours.1 => {
                    return Err(differs(&name(&key), "has another history").into());
                }
                Some(_) => progress.add(1),
            }
        }
    }
    Ok(())
}

async fn slots_of(target: &Target) -> anyhow::Result<Vec<SlotKey>> {
    let mut slots = Vec::new();
    target
        .store
        .for_each_slot(|slot| {
            slots.push(slot.key);
            Ok::<_, anyhow::Error>(())
        })
        .await?;
    slots.sort_unstable();
    Ok(slots)
}

async fn slot(store: &impl TokenStore, key: &SlotKey) -> anyhow::Result<Option<Slot>> {
    let Some(record) = store.get(key).await? else {
        return Ok(None);
    };
    Ok(Some((record, store.history(key).await?)))
}

fn name(key: &SlotKey) -> String {
    format!("token {} of workspace {}", key.name, key.workspace)
}

const IMPORTED_AT_ONCE: usize = 1_000;

/// As many as there are connections.
const READ_AT_ONCE: usize = 16;
