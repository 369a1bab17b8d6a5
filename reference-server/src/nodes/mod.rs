//! Several servers on one database: what this one is called among them, what they tell each other, and who of
//! them is alive.
//!
//! What is committed to tasks, and to the settings of a workspace, is told in the same transaction; other changes,
//! for open pages alone, a moment later. A node hears of what the others told by reading on in a table, every 50 ms; whatever it cannot account
//! for, it takes for everything. A database in a file has one server, which tells nobody.

mod ear;
mod outbox;
pub(crate) mod presence;
#[cfg(test)]
mod tests;
mod voice;

use std::sync::Arc;

use tower_workspace_token::{id::WorkspaceId, store::StoreError};
use tower_workspace_token_postgres::PostgresStore;

use crate::{
    db::{DatabaseError, Store, Transaction},
    live::Topic,
    tasks::Announcement,
};

pub(crate) use ear::listen;
use outbox::Said;
pub(crate) use voice::speak;

/// This server among those on its database. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    name: Arc<str>,
    store: Option<PostgresStore>,
}

impl Nodes {
    /// Finds out whether there may be others.
    pub(crate) fn of(store: &Store) -> Self {
        let store = store.postgres().cloned();
        let name = store.as_ref().map_or("", PostgresStore::node_id);
        Self {
            name: name.into(),
            store,
        }
    }

    /// Returns what this server is called while it runs; empty if there can be no other.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the names of those that serve, as far as the database knows.
    pub(crate) async fn alive(&self) -> Result<Vec<String>, StoreError> {
        match &self.store {
            None => Ok(Vec::new()),
            Some(store) => {
                let nodes = store.nodes().await?;
                Ok(nodes.into_iter().map(|node| node.id).collect())
            }
        }
    }

    /// Tells the others, once the transaction is committed, what was done in it to a workspace.
    pub(crate) fn tell(
        &self,
        transaction: &Transaction<'_>,
        workspace: &WorkspaceId,
        announcements: &[Announcement],
    ) -> Result<(), DatabaseError> {
        if self.store.is_none() || announcements.is_empty() {
            return Ok(());
        }
        let said = announcements.iter().map(|announcement| Said {
            workspace: Some(workspace.to_string()),
            announcement: announcement.clone(),
        });
        outbox::put(transaction, &self.name, said)
    }

    /// Tells the others, once the transaction is committed, that the database needs other keys: whoever began to serve
    /// with the former ones in between ends.
    pub(crate) fn tell_of_keys(&self, transaction: &Transaction<'_>) -> Result<(), DatabaseError> {
        if self.store.is_none() {
            return Ok(());
        }
        let said = Said {
            workspace: None,
            announcement: Announcement::Keys,
        };
        outbox::put(transaction, &self.name, [said])
    }

    /// Tells the others, once the transaction is committed, that a workspace has other settings, or is no more: they
    /// go by them at the next request.
    pub(crate) fn tell_of_settings(
        &self,
        transaction: &Transaction<'_>,
        workspace: &WorkspaceId,
    ) -> Result<(), DatabaseError> {
        let settings = Announcement::Topic(Topic::Settings);
        self.tell(transaction, workspace, &[settings])
    }
}
