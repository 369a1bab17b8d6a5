//! Pushes what people add to a workspace to the agents' sessions, on the stream of their GET, and to
//! each session the answers to its own requests.

use std::{fmt, pin::Pin, time::Duration};

use rmcp::{
    Peer, RoleServer,
    model::{CustomNotification, ServerNotification},
};
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep},
};
use tower_workspace_token::VerifiedToken;

use crate::tasks::{
    Actor, Event, SessionInbox, SessionKey, Subscription, TaskError, Tasks, Verdict,
};

/// The task that pushes to one session; ends when this is dropped, and with the token.
pub(super) struct Pusher {
    session: SessionKey,
    _ended_when_dropped: oneshot::Sender<()>,
}

impl Pusher {
    /// Returns which session it pushes to.
    pub(super) fn session(&self) -> &SessionKey {
        &self.session
    }
}

/// Begins to push what is added to the workspace of `token`, for as long as the token holds, and the
/// answers to what this session asks permission for.
pub(super) fn start(
    tasks: &Tasks,
    token: &VerifiedToken,
    peer: Peer<RoleServer>,
) -> Result<Pusher, TaskError> {
    // Before the task runs, so that nothing is missed until it does.
    let subscription = tasks.subscribe(token.workspace());
    let mut inbox = tasks.open_session()?;
    let session = inbox.key().clone();
    let (ended_when_dropped, ended) = oneshot::channel();
    let pusher = Pusher {
        session: session.clone(),
        _ended_when_dropped: ended_when_dropped,
    };
    let (tasks, lease) = (tasks.clone(), token.lease().clone());
    tokio::spawn(async move {
        tokio::select! {
            _ = lease.guard(push_all(subscription, &mut inbox, peer)) => {}
            _ = ended => {}
        }
        // From here on nothing can be answered to it; then what it waits for is closed.
        drop(inbox);
        if let Err(error) = tasks.close_session(lease.workspace(), &session).await {
            tracing::warn!("the requests of a session that ended stay open: {error}");
        }
    });
    Ok(pusher)
}

async fn push_all(
    mut subscription: Subscription,
    inbox: &mut SessionInbox,
    peer: Peer<RoleServer>,
) {
    let mut missed = Missed::default();
    loop {
        let notification = tokio::select! {
            verdict = inbox.next() => Some(permission(&verdict)),
            () = missed.is_due() => Some(look_for_yourself()),
            event = subscription.next() => match event {
                Event::Missed => {
                    missed.note();
                    None
                }
                event => channel_message(&event),
            },
        };
        let Some(notification) = notification else {
            continue;
        };
        let notification = ServerNotification::CustomNotification(notification);
        if peer.send_notification(notification).await.is_err() {
            return;
        }
    }
}

/// Returns the answer to a permission request, as the agent is told.
fn permission(verdict: &Verdict) -> CustomNotification {
    let behavior = if verdict.is_allowed { "allow" } else { "deny" };
    let params = json!({ "request_id": verdict.request, "behavior": behavior });
    CustomNotification::new(PERMISSION, Some(params))
}

/// Returns what an agent is told when nobody knows what it was not told.
fn look_for_yourself() -> CustomNotification {
    let content =
        "Some of what people added may not have reached you: call listTasks to see what is new.";
    CustomNotification::new(CHANNEL, Some(json!({ "content": content, "meta": {} })))
}

/// Whether something was missed of which the session was not told yet: it is told once of all that was missed
/// within [`MISSED_FOR`], since a database that is away for long makes for many.
#[derive(Debug, Default)]
struct Missed(Option<Pin<Box<Sleep>>>);

impl Missed {
    fn note(&mut self) {
        self.0.get_or_insert_with(|| Box::pin(sleep(MISSED_FOR)));
    }

    /// Completes when the session is to be told. Nothing is lost if the future is dropped.
    async fn is_due(&mut self) {
        match &mut self.0 {
            None => std::future::pending().await,
            Some(waited) => waited.await,
        }
        self.0 = None;
    }
}

const MISSED_FOR: Duration = Duration::from_secs(5);

fn channel_message(event: &Event) -> Option<CustomNotification> {
    Some(CustomNotification::new(CHANNEL, Some(params(event)?)))
}

/// Returns what an agent is told of an event: what a person added, if it is for agents.
fn params(event: &Event) -> Option<Value> {
    let (content, task, message, at) = match event {
        Event::TaskAdded(task) if task.author == Actor::Human && task.assignee == Actor::Agent => {
            let content = format!("New task: {}\n\n{}", task.title, task.body);
            (content, &task.id, task.id.as_str(), &task.created_at)
        }
        Event::TaskOffered(task) => {
            let content = format!("Task for agents: {}\n\n{}", task.title, task.body);
            (content, &task.id, task.id.as_str(), &task.updated_at)
        }
        Event::MessageAdded(message) if message.author == Actor::Human => (
            message.text.clone(),
            &message.task,
            message.id.as_str(),
            &message.created_at,
        ),
        Event::TaskAdded(_) | Event::MessageAdded(_) | Event::Missed => return None,
    };
    Some(json!({
        "content": content,
        "meta": { "chat_id": task, "message_id": message, "user": "human", "ts": at },
    }))
}

const CHANNEL: &str = "notifications/claude/channel";
const PERMISSION: &str = "notifications/claude/channel/permission";

impl fmt::Debug for Pusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pusher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_session_is_told_once_of_all_that_it_missed_in_a_while() {
        let mut missed = Missed::default();
        assert!(timeout(10 * MISSED_FOR, missed.is_due()).await.is_err());
        for _ in 0..3 {
            missed.note();
            assert!(timeout(MISSED_FOR / 5, missed.is_due()).await.is_err());
        }
        assert!(timeout(MISSED_FOR, missed.is_due()).await.is_ok());
        assert!(timeout(10 * MISSED_FOR, missed.is_due()).await.is_err());
        missed.note();
        assert!(timeout(2 * MISSED_FOR, missed.is_due()).await.is_ok());
    }
}
