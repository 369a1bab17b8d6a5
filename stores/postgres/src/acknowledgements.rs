//! Whether every other process knows of a rotation: one task asks for all rotations that wait.
//!
//! It asks after the commit. A process that is not in the table then registers later, hence looks later, hence sees the commit.

use std::{fmt, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tower_workspace_token::id::{Generation, SlotKey};

use crate::{
    error::Failure,
    pool::Connections,
    queries::{read, signed},
};

/// The way to the task that asks; it ends when this is dropped.
pub(crate) struct Acknowledgements {
    waiting: mpsc::UnboundedSender<Waiting>,
}

struct Waiting {
    key: SlotKey,
    generation: Generation,
    known: oneshot::Sender<()>,
}

impl Acknowledgements {
    pub(crate) fn start(runtime: &Handle, connections: Connections, node: &str) -> Self {
        let (waiting, arriving) = mpsc::unbounded_channel();
        runtime.spawn(ask(arriving, connections, node.to_owned()));
        Self { waiting }
    }

    /// Completes when all others have acknowledged `generation` of `key`, or a later one.
    pub(crate) async fn of(&self, key: &SlotKey, generation: Generation) {
        let (known, is_known) = oneshot::channel();
        let waiting = Waiting {
            key: *key,
            generation,
            known,
        };
        // If the task has ended, the value is dropped, and its answer with it.
        let _ended = self.waiting.send(waiting);
        if is_known.await.is_err() {
            std::future::pending().await
        }
    }
}

async fn ask(
    mut arriving: mpsc::UnboundedReceiver<Waiting>,
    connections: Connections,
    node: String,
) {
    let mut waiting: Vec<Waiting> = Vec::new();
    let mut pause = SHORTEST_PAUSE;
    loop {
        let arrived = if waiting.is_empty() {
            arriving.recv().await
        } else {
            match timeout(pause, arriving.recv()).await {
                Ok(arrived) => arrived,
                Err(_) => {
                    settle(&mut waiting, &connections, &node).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
            }
        };
        let Some(arrived) = arrived else { return };
        waiting.push(arrived);
        while let Ok(arrived) = arriving.try_recv() {
            waiting.push(arrived);
        }
        pause = SHORTEST_PAUSE;
        settle(&mut waiting, &connections, &node).await;
    }
}

/// Answers those of whom all others know, and forgets those who have gone.
async fn settle(waiting: &mut Vec<Waiting>, connections: &Connections, node: &str) {
    waiting.retain(|waiting| !waiting.known.is_closed());
    let Ok(mut known) = known(waiting, connections, node).await else {
        return;
    };
    // From the end, so that the places of the others stay what they are.
    known.sort_unstable_by(|one, other| other.cmp(one));
    for place in known {
        if place < waiting.len() {
            let _gone = waiting.swap_remove(place).known.send(());
        }
    }
}

/// Returns the places of those of whom all others know.
async fn known(
    waiting: &[Waiting],
    connections: &Connections,
    node: &str,
) -> Result<Vec<usize>, Failure> {
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    let keys = || waiting.iter().map(|waiting| &waiting.key);
    let workspaces: Vec<&str> = keys().map(|key| key.workspace.as_str()).collect();
    let names: Vec<&str> = keys().map(|key| key.name.as_str()).collect();
    let generations: Vec<i64> = waiting
        .iter()
        .map(|waiting| signed(waiting.generation.number()))
        .collect();
    let rows = connections
        .read(KNOWN, &[&node, &workspaces, &names, &generations])
        .await?;
    let places = rows.iter().map(|row| read::<i64>(row, 0));
    places
        .map(|place| Ok(usize::try_from(place? - 1).unwrap_or(usize::MAX)))
        .collect()
}

// Who has acknowledged nothing yet has a NULL there, which is not true either.
const KNOWN: &str = "
SELECT waiting.place
FROM unnest($2::text[], $3::text[], $4::int8[]) WITH ORDINALITY
    AS waiting (workspace, name, generation, place)
JOIN wst_slots AS slot USING (workspace, name)
WHERE slot.generation >= waiting.generation AND NOT EXISTS (
    SELECT FROM wst_nodes AS other
    WHERE other.node <> $1::text
    AND pg_visible_in_snapshot(slot.changed_in, other.acknowledged) IS NOT TRUE
)";

const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

const LONGEST_PAUSE: Duration = Duration::from_millis(20);

impl fmt::Debug for Acknowledgements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acknowledgements").finish_non_exhaustive()
    }
}
