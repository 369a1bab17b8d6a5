//! The agents' sessions that an answer can be sent to: each has an inbox, and nobody else reads it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;

use super::TaskError;
use crate::db::ids;

/// Names a session in this process. Random, and never told to anybody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SessionKey(String);

/// The answer to a permission request, on its way to the session that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The id that the agent gave its request.
    pub(crate) request: String,
    pub(crate) is_allowed: bool,
}

/// Where a session gets its answers. Nothing can be answered to it once this is dropped.
#[derive(Debug)]
pub(crate) struct SessionInbox {
    key: SessionKey,
    verdicts: mpsc::UnboundedReceiver<Verdict>,
    sessions: Sessions,
}

type Inboxes = HashMap<SessionKey, mpsc::UnboundedSender<Verdict>>;

#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    inboxes: Arc<Mutex<Inboxes>>,
}

impl SessionKey {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn of_column(text: String) -> Self {
        Self(text)
    }
}

impl SessionInbox {
    pub(crate) fn key(&self) -> &SessionKey {
        &self.key
    }

    /// Waits for the next answer. Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Verdict {
        match self.verdicts.recv().await {
            Some(verdict) => verdict,
            // The sender goes with this inbox, not before it.
            None => std::future::pending().await,
        }
    }
}

impl Drop for SessionInbox {
    fn drop(&mut self) {
        self.sessions.inboxes().remove(&self.key);
    }
}

impl Sessions {
    pub(super) fn open(&self) -> Result<SessionInbox, TaskError> {
        let key = SessionKey(ids::random_id().map_err(TaskError::unavailable)?);
        // Bounded by the requests that may be pending in a session: nothing else is answered.
        let (sender, verdicts) = mpsc::unbounded_channel();
        self.inboxes().insert(key.clone(), sender);
        Ok(SessionInbox {
            key,
            verdicts,
            sessions: self.clone(),
        })
    }

    pub(super) fn is_open(&self, key: &SessionKey) -> bool {
        self.inboxes().contains_key(key)
    }

    pub(super) fn send(&self, key: &SessionKey, verdict: Verdict) {
        if let Some(inbox) = self.inboxes().get(key) {
            // A receiver that is gone has gone with its session.
            let _ = inbox.send(verdict);
        }
    }

    fn inboxes(&self) -> MutexGuard<'_, Inboxes> {
        // Nothing panics while the lock is held with the map half-changed.
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
