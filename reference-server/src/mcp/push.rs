//! Pushes what people add to a workspace to the agents' sessions, on the stream of their GET.

use std::fmt;

use rmcp::{
    Peer, RoleServer,
    model::{CustomNotification, ServerNotification},
};
use serde_json::{Value, json};
use tokio::task::AbortHandle;
use tower_workspace_token::VerifiedToken;

use crate::tasks::{Actor, Event, Subscription, Tasks};

/// The task that pushes to one session; ends when this is dropped.
pub(super) struct Pusher(AbortHandle);

impl Drop for Pusher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins to push what is added to the workspace of `token`, for as long as the token holds.
pub(super) fn start(tasks: &Tasks, token: &VerifiedToken, peer: Peer<RoleServer>) -> Pusher {
    // Before the task runs, so that nothing is missed until it does.
    let subscription = tasks.subscribe(token.workspace());
    let lease = token.lease().clone();
    let pushing = tokio::spawn(async move { lease.guard(push_all(subscription, peer)).await });
    Pusher(pushing.abort_handle())
}

async fn push_all(mut subscription: Subscription, peer: Peer<RoleServer>) {
    loop {
        let Some(params) = params(&subscription.next().await) else {
            continue;
        };
        let notification = CustomNotification::new(CHANNEL, Some(params));
        let notification = ServerNotification::CustomNotification(notification);
        if peer.send_notification(notification).await.is_err() {
            return;
        }
    }
}

/// Returns what an agent is told of an event: what a person added, if it is for agents.
fn params(event: &Event) -> Option<Value> {
    let (content, task, message, at) = match event {
        Event::TaskAdded(task) if task.author == Actor::Human && task.assignee == Actor::Agent => {
            let content = format!("New task: {}\n\n{}", task.title, task.body);
            (content, &task.id, task.id.as_str(), &task.created_at)
        }
        Event::MessageAdded(message) if message.author == Actor::Human => (
            message.text.clone(),
            &message.task,
            message.id.as_str(),
            &message.created_at,
        ),
        Event::Missed => {
            tracing::warn!("a session does not read what is pushed to it, and missed some");
            return None;
        }
        Event::TaskAdded(_) | Event::MessageAdded(_) => return None,
    };
    Some(json!({
        "content": content,
        "meta": { "chat_id": task, "message_id": message, "user": "human", "ts": at },
    }))
}

const CHANNEL: &str = "notifications/claude/channel";

impl fmt::Debug for Pusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pusher").finish_non_exhaustive()
    }
}
