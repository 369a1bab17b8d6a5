//! Announces what was committed to whoever waits for it, in this process: the one place that does.
//!
//! Agents get what was added itself, and those of one workspace can't crowd out another's; open pages
//! get the topic, and fetch what they show of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};
use tower_workspace_token::id::WorkspaceId;

use super::{Actor, Message, Task};
use crate::live::{Live, Topic};

/// Something that was committed.
#[derive(Clone, Debug)]
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

/// What is to be announced of a commit.
#[derive(Clone, Debug)]
pub(super) struct Announcement {
    topic: Topic,
    event: Option<Event>,
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

impl Announcement {
    /// For pages alone.
    pub(super) fn topic(topic: Topic) -> Self {
        Self { topic, event: None }
    }

    /// For agents too.
    pub(super) fn of(event: Event) -> Self {
        let task = match &event {
            Event::MessageAdded(message) => message.task.to_string(),
            Event::TaskAdded(task) | Event::TaskOffered(task) => task.id.to_string(),
            Event::Missed => String::new(),
        };
        Self {
            topic: Topic::Task(task),
            event: Some(event),
        }
    }
}

impl Hub {
    pub(super) fn new(live: Live) -> Self {
        Self {
            live,
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

    pub(super) fn publish(&self, workspace: &WorkspaceId, announcement: Announcement) {
        self.live.announce(Some(workspace), announcement.topic);
        if let Some(event) = announcement.event {
            self.tell_agents(workspace, event);
        }
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
