//! Tasks and messages: what agents and people of a workspace work on together.
//!
//! Every query is bound to the workspace. What an agent writes is bound to its [`Lease`] as well:
//! the generation of its token is looked up inside the same transaction, so that nothing of a
//! regenerated token is committed once the rotation has returned. What was committed is announced to
//! the [subscribers](Tasks::subscribe) of the workspace.

mod error;
mod hub;
mod model;
mod read;
mod take;
mod write;

use tower_workspace_token::{authority::Lease, id::WorkspaceId};

use crate::db::Database;

pub use error::{TaskError, TaskErrorKind};
pub use hub::{Event, Subscription};
pub use model::{
    Actor, DEFAULT_PAGE, MAX_PAGE, MAX_TEXT, MAX_TITLE, Message, MessageId, MessagePage, NewTask,
    PageRequest, Statistics, Status, Task, TaskFilter, TaskId, TaskPage, WorkspaceInfo,
};

use hub::Hub;

/// Who writes: a person, or an agent by the lease of its verified token.
#[derive(Clone, Debug)]
pub enum Author {
    /// An agent. Its workspace is the lease's.
    Agent(Lease),
    /// A person, who acts on this workspace.
    Human(WorkspaceId),
}

/// The tasks of all workspaces. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Tasks {
    database: Database,
    hub: Hub,
}

impl Tasks {
    /// Works on the tables of `database`.
    pub fn new(database: Database) -> Self {
        Self {
            database,
            hub: Hub::default(),
        }
    }

    /// Listens to what is added to `workspace` from now on.
    ///
    /// Subscribe *before* the query that may find nothing: what is added in between is then heard.
    pub fn subscribe(&self, workspace: &WorkspaceId) -> Subscription {
        self.hub.subscribe(workspace)
    }

    /// Tells those who wait that nothing more will be added by this process, which is about to end.
    pub(crate) fn close(&self) {
        self.hub.close();
    }

    /// Completes when [`close`](Self::close) was called.
    pub(crate) async fn closed(&self) {
        self.hub.closed().await;
    }
}

impl Author {
    /// Returns the workspace that the author works in.
    pub fn workspace(&self) -> &WorkspaceId {
        match self {
            Self::Agent(lease) => lease.workspace(),
            Self::Human(workspace) => workspace,
        }
    }

    /// Returns which of the two it is.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Agent(_) => Actor::Agent,
            Self::Human(_) => Actor::Human,
        }
    }

    fn token_id(&self) -> Option<String> {
        match self {
            Self::Agent(lease) => Some(lease.token_id().to_string()),
            Self::Human(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
