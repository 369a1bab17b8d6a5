//! Tasks and messages: what agents and people of a workspace work on together.
//!
//! Every query is bound to the workspace. What an agent writes is bound to its [`Lease`] as well:
//! the generation of its token is looked up inside the same transaction, so that nothing of a
//! regenerated token is committed once the rotation has returned. What was committed is announced in
//! one place, the `hub`: with its content to the [subscribers](Tasks::subscribe) of the workspace,
//! which are agents, and by its topic alone to open pages.

mod answers;
mod approvals;
mod attachments;
mod board;
mod change;
mod error;
mod hub;
mod model;
mod needs;
mod read;
mod sessions;
mod take;
mod timeline;
mod write;

use tower_workspace_token::{authority::Lease, id::WorkspaceId};

use crate::{db::Database, live::Live, nodes::Nodes, people::UserId};

#[cfg(test)]
pub(crate) use answers::AnswerDay;
pub(crate) use answers::{AnswerTimes, Waits};
pub(crate) use approvals::{Answer, Approval, ApprovalRule, ApprovalState};
pub(crate) use attachments::{
    Attachment, AttachmentData, FILES_HINT, MAX_BYTES_AT_ONCE, NewAttachment,
};
pub(crate) use board::{BoardColumn, Place};
pub(crate) use change::Edit;
pub use error::{TaskError, TaskErrorKind};
pub(crate) use hub::Announcement;
pub use hub::{Event, Subscription};
pub use model::{
    Actor, ApprovalId, AttachmentId, DEFAULT_PAGE, MAX_PAGE, MAX_TEXT, MAX_TITLE, Message,
    MessageId, MessagePage, NewTask, PageRequest, Protocol, RuleId, Statistics, Status, Task,
    TaskCard, TaskFilter, TaskId, TaskPage, WorkspaceInfo,
};
pub(crate) use needs::{Need, NeedKind, NeedsPage, counts as needs_counts};
pub(crate) use sessions::{SessionInbox, SessionKey, Verdict};
pub(crate) use timeline::{TimelineEvent, What};

use hub::Hub;
use sessions::Sessions;

/// Who writes: a person, or an agent by the lease of its verified token.
#[derive(Clone, Debug)]
pub enum Author {
    /// An agent. Its workspace is the lease's.
    Agent(Lease),
    /// A person, who acts on this workspace.
    Human(WorkspaceId, Who),
}

/// A person, as the rows keep who wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Absent for the command line, which no user stands behind.
    pub(crate) user: Option<UserId>,
    /// What they are called now.
    pub(crate) name: String,
}

/// The tasks of all workspaces. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Tasks {
    database: Database,
    hub: Hub,
    sessions: Sessions,
    nodes: Nodes,
}

impl Tasks {
    /// Works on the tables of `database`, and tells open pages what has changed through `live`.
    pub(crate) fn new(database: Database, live: Live, nodes: Nodes) -> Self {
        let sessions = Sessions::of(nodes.name());
        Self {
            database,
            hub: Hub::new(live, sessions.clone()),
            sessions,
            nodes,
        }
    }

    /// Passes on what another node has announced.
    pub(crate) fn hear(&self, workspace: Option<&WorkspaceId>, announcement: Announcement) {
        self.hub.publish(workspace, announcement);
    }

    /// Has everybody who waits or looks on look for themselves.
    pub(crate) fn doubt_everything(&self) {
        self.hub.doubt_everything();
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
            Self::Human(workspace, _) => workspace,
        }
    }

    /// Returns which of the two it is.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Agent(_) => Actor::Agent,
            Self::Human(..) => Actor::Human,
        }
    }

    /// Returns what people see: a person's name, or that of the agent's token.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Agent(lease) => lease.name().to_string(),
            Self::Human(_, who) => who.name.clone(),
        }
    }

    pub(crate) fn user(&self) -> Option<String> {
        match self {
            Self::Agent(_) => None,
            Self::Human(_, who) => who.user.as_ref().map(ToString::to_string),
        }
    }

    fn token_id(&self) -> Option<String> {
        match self {
            Self::Agent(lease) => Some(lease.token_id().to_string()),
            Self::Human(..) => None,
        }
    }
}

#[cfg(test)]
mod tests;
