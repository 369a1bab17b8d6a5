//! The agents' sessions that an answer can be sent to: each has an inbox, and nobody else reads it.
//!
//! An inbox knows which requests wait, and takes the answer to each of them once. So an answer may be told
//! twice, or looked up by whoever may have missed it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{ApprovalId, TaskError, approvals::MAX_PENDING};
use crate::db::ids;

/// Names a session of an agent: the node that it is on, if there may be several, and something random. Never
/// told to anybody but nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct SessionKey(String);

/// The answer to a permission request, on its way to the session that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) approval: ApprovalId,
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

/// What this node knows of a session.
#[derive(Debug)]
struct Inbox {
    sender: mpsc::UnboundedSender<Verdict>,
    /// The requests that were not answered, oldest first.
    waiting: VecDeque<ApprovalId>,
}

type Inboxes = HashMap<SessionKey, Inbox>;

#[derive(Clone, Debug)]
pub(super) struct Sessions {
    /// What this node is called; empty if it is the only one.
    node: Arc<str>,
    inboxes: Arc<Mutex<Inboxes>>,
    is_in_doubt: Arc<AtomicBool>,
}

impl SessionKey {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn of_column(text: String) -> Self {
        Self(text)
    }

    /// Returns the name of the node that the session is on.
    pub(super) fn node(&self) -> &str {
        self.0.split_once('/').map_or("", |(node, _)| node)
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
    pub(super) fn of(node: &str) -> Self {
        Self {
            node: node.into(),
            inboxes: Arc::default(),
            is_in_doubt: Arc::default(),
        }
    }

    pub(super) fn open(&self) -> Result<SessionInbox, TaskError> {
        let random = ids::random_id().map_err(TaskError::unavailable)?;
        let key = SessionKey(match &*self.node {
            "" => random,
            node => format!("{node}/{random}"),
        });
        // Bounded by the requests that may wait in a session: nothing else is answered.
        let (sender, verdicts) = mpsc::unbounded_channel();
        let inbox = Inbox {
            sender,
            waiting: VecDeque::new(),
        };
        self.inboxes().insert(key.clone(), inbox);
        Ok(SessionInbox {
            key,
            verdicts,
            sessions: self.clone(),
        })
    }

    pub(super) fn is_open(&self, key: &SessionKey) -> bool {
        self.inboxes().contains_key(key)
    }

    /// Returns whether a session may be there: of another node, if that is one of those `alive`.
    pub(super) fn may_be_open(&self, key: &SessionKey, alive: &[String]) -> bool {
        match key.node() == &*self.node {
            true => self.is_open(key),
            false => alive.iter().any(|node| node == key.node()),
        }
    }

    /// Has a session wait for the answer to a request, before anybody can give one.
    pub(super) fn expect(&self, key: &SessionKey, approval: ApprovalId) {
        if let Some(inbox) = self.inboxes().get_mut(key) {
            // Those that were never written do not crowd out the memory.
            if inbox.waiting.len() >= MAX_WAITING {
                inbox.waiting.pop_front();
            }
            inbox.waiting.push_back(approval);
        }
    }

    /// Takes a request back that was not made.
    pub(super) fn forget(&self, key: &SessionKey, approval: &ApprovalId) {
        if let Some(inbox) = self.inboxes().get_mut(key) {
            inbox.take(approval);
        }
    }

    /// Notes that answers may have been given of which nobody told.
    pub(super) fn doubt(&self) {
        self.is_in_doubt.store(true, Ordering::Relaxed);
    }

    /// Returns whether that was noted since it was asked last.
    pub(super) fn take_doubt(&self) -> bool {
        self.is_in_doubt.swap(false, Ordering::Relaxed)
    }

    /// Returns the requests of this node's sessions that wait for an answer.
    pub(super) fn waiting(&self) -> Vec<ApprovalId> {
        let inboxes = self.inboxes();
        let waiting = inboxes.values().flat_map(|inbox| &inbox.waiting);
        waiting.cloned().collect()
    }

    /// Sends an answer, unless the session has it already.
    pub(super) fn send(&self, key: &SessionKey, verdict: Verdict) {
        if let Some(inbox) = self.inboxes().get_mut(key)
            && inbox.take(&verdict.approval)
        {
            // A receiver that is gone has gone with its session.
            let _ = inbox.sender.send(verdict);
        }
    }

    fn inboxes(&self) -> MutexGuard<'_, Inboxes> {
        // Nothing panics while the lock is held with the map half-changed.
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    /// Returns whether the request was waiting, which it is not from here on.
    fn take(&mut self, approval: &ApprovalId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting != approval);
        self.waiting.len() < before
    }
}

/// Twice as many as may wait in the database.
const MAX_WAITING: usize = 2 * MAX_PENDING as usize;
