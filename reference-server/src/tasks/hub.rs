//! Announces what was committed to whoever waits for it, by this node or another: the one place that does.
//!
//! Agents get what was added itself, and those of one workspace can't crowd out another's; open pages
//! get the topic, and fetch what they show of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};
use tower_workspace_token::id::WorkspaceId;

use super::{Actor, Message, SessionKey, Task, Verdict, sessions::Sessions};
use crate::live::{Change, Live, Topic};

/// Something that was committed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Event {
    /// A message was added to a task.
    MessageAdded(Arc<Message>),
    /// A task was added.
    TaskAdded(Arc<Task>),
    /// More was added than was kept for this subscriber: look for yourself.
    Missed,
    /// A person made a task one that agents can take, which it was not before.
    TaskOffered(Arc<Task>),
}

/// What is to be announced of a commit, here and by other nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Announcement {
    /// To agents with its content, and to pages.
    Event(Event),
    /// To pages.
    Topic(Topic),
    /// To the servers: the database needs other keys.
    Keys,
    /// To the session that asked for a permission, wherever it is.
    Verdict {
        session: SessionKey,
        verdict: Verdict,
    },
    /// To the server that has the connection of this id: its session is to end.
    EndConnection(String),
}

/// What a subscriber holds.
#[derive(Debug)]
pub struct Subscription {
    events: broadcast::Receiver<Event>,
}

/// How many events are kept for a subscriber that is slow to read.
const KEPT: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Hub {
    live: Live,
    sessions: Sessions,
    workspaces: Arc<Mutex<HashMap<WorkspaceId, broadcast::Sender<Event>>>>,
    is_closed: Arc<watch::Sender<bool>>,
}

impl Event {
    /// Returns who added it, where that is known.
    pub fn author(&self) -> Option<Actor> {
        match self {
            Self::MessageAdded(message) => Some(message.author),
            Self::TaskAdded(task) => Some(task.author),
            Self::TaskOffered(_) => Some(Actor::Human),
            Self::Missed => None,
        }
    }
}

impl Subscription {
    /// Waits for the next event. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => Event::Missed,
            // Nobody can add anything any longer.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Event {
    /// Returns what pages show that changes with it.
    fn topic(&self) -> Option<Topic> {
        let task = match self {
            Self::MessageAdded(message) => &message.task,
            Self::TaskAdded(task) | Self::TaskOffered(task) => &task.id,
            Self::Missed => return None,
        };
        Some(Topic::Task(task.to_string()))
    }
}

impl Hub {
    pub(super) fn new(live: Live, sessions: Sessions) -> Self {
        Self {
            live,
            sessions,
            workspaces: Arc::default(),
            is_closed: Arc::default(),
        }
    }

    pub(super) fn subscribe(&self, workspace: &WorkspaceId) -> Subscription {
        let mut workspaces = self.workspaces();
        let sender = workspaces
            .entry(*workspace)
            .or_insert_with(|| broadcast::channel(KEPT).0);
        Subscription {
            events: sender.subscribe(),
        }
    }

    /// Announces here what was committed; the others know by other means.
    pub(super) fn publish(&self, workspace: Option<&WorkspaceId>, announcement: Announcement) {
        match announcement {
            // Whoever changes them has them.
            Announcement::Keys | Announcement::EndConnection(_) => {}
            Announcement::Topic(topic) => self.tell_pages(workspace, topic),
            Announcement::Verdict { session, verdict } => self.sessions.send(&session, verdict),
            Announcement::Event(event) => {
                if let Some(topic) = event.topic() {
                    self.tell_pages(workspace, topic);
                }
                if let Some(workspace) = workspace {
                    self.tell_agents(workspace, event);
                }
            }
        }
    }

    /// Has everybody look for themselves.
    pub(super) fn doubt_everything(&self) {
        self.live.doubt_everything();
        self.sessions.doubt();
        self.workspaces()
            .retain(|_, sender| sender.send(Event::Missed).is_ok());
    }

    fn tell_pages(&self, workspace: Option<&WorkspaceId>, topic: Topic) {
        self.live.hear(Change {
            workspace: workspace.copied(),
            topic,
        });
    }

    fn tell_agents(&self, workspace: &WorkspaceId, event: Event) {
        let mut workspaces = self.workspaces();
        let nobody_listens = workspaces
            .get(workspace)
            .is_some_and(|sender| sender.send(event).is_err());
        if nobody_listens {
            workspaces.remove(workspace);
        }
    }

    pub(super) fn close(&self) {
        self.is_closed.send_replace(true);
    }

    pub(super) async fn closed(&self) {
        let mut is_closed = self.is_closed.subscribe();
        // The sender lives as long as `self`.
        let _ = is_closed.wait_for(|is_closed| *is_closed).await;
    }

    fn workspaces(&self) -> MutexGuard<'_, HashMap<WorkspaceId, broadcast::Sender<Event>>> {
        // Nothing panics while the lock is held with the map half-changed.
        self.workspaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
