//! Tells other nodes what changed outside of tasks, for pages that are open there.
//!
//! Gathered for a moment, and written at once: a page that hears of two changes of one list looks once anyway.

use std::{collections::HashSet, time::Duration};

use tokio::{sync::mpsc, time::sleep};

use super::outbox::{self, Said};
use crate::{
    app::App,
    db::{DatabaseError, Transaction},
    live::{Change, Topic},
    tasks::Announcement,
};

/// Tells what comes through `changes`, until their sender is gone.
pub(crate) async fn speak(app: App, mut changes: mpsc::UnboundedReceiver<Change>) {
    while let Some(first) = changes.recv().await {
        sleep(MOMENT).await;
        let mut gathered = HashSet::from([first]);
        while let Ok(change) = changes.try_recv() {
            gathered.insert(change);
        }
        // Connections are those of a node.
        gathered.retain(|change| change.topic != Topic::Connections);
        if !gathered.is_empty()
            && let Err(error) = tell(&app, gathered).await
        {
            tracing::warn!("pages on other nodes may show what was: {error}");
        }
    }
}

async fn tell(app: &App, changes: HashSet<Change>) -> Result<(), DatabaseError> {
    let node = app.nodes().name().to_owned();
    let work = move |transaction: &Transaction<'_>| {
        let said = changes.into_iter().map(|change| Said {
            workspace: change.workspace.map(|workspace| workspace.to_string()),
            announcement: Announcement::Topic(change.topic),
        });
        outbox::put(transaction, &node, said)
    };
    app.database().append(work).await
}

const MOMENT: Duration = Duration::from_millis(20);
