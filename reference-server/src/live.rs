//! Tells open pages that something has changed, and what: they ask for the new state themselves.
//!
//! Changes are numbered. A page says up to which one it was made, and hears of all that came after: none
//! is lost between the making of a page and its listening, or while it was not connected.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};
use tower_workspace_token::id::WorkspaceId;

/// Announces changes to those who listen. Cheap to clone; clones share the listeners.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Tells this process from the ones before, whose numbers mean nothing here.
    epoch: u64,
    kept: Mutex<Kept>,
    changes: broadcast::Sender<Option<(u64, Change)>>,
    /// Where other nodes are told, if there are any.
    outward: OnceLock<mpsc::UnboundedSender<Change>>,
    /// How many streams each listener has open.
    seats: Mutex<HashMap<String, usize>>,
}

/// A place among the streams of one listener, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    live: Live,
    who: String,
}

#[derive(Debug, Default)]
struct Kept {
    /// The number of the last change.
    last: u64,
    recent: VecDeque<Change>,
}

/// Something has changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Change {
    /// In this workspace, or in the server as a whole.
    pub(crate) workspace: Option<WorkspaceId>,
    pub(crate) topic: Topic,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Topic {
    /// Permissions that agents ask for; what belongs to a task is announced as that too.
    Approvals,
    /// The audit list.
    Audit,
    /// Who is connected.
    Connections,
    /// Users, members and logins.
    People,
    /// A workspace's own settings, or the list of workspaces.
    Settings,
    /// This task: its state, conversation, approvals or place.
    Task(String),
    /// Tokens, and uses of them that were refused.
    Tokens,
}

/// Up to which change somebody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    epoch: u64,
    number: u64,
}

/// What a listener hears.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A change, and the cursor after it.
    Change(Cursor, Change),
    /// Too much was missed to tell it all.
    Everything(Cursor),
}

/// Hears of changes, in their order.
#[derive(Debug)]
pub(crate) struct Listener {
    live: Live,
    missed: VecDeque<Heard>,
    changes: broadcast::Receiver<Option<(u64, Change)>>,
}

impl Live {
    /// Announces a change. Never blocks: a listener who does not keep up hears that it missed some.
    pub(crate) fn announce(&self, workspace: Option<&WorkspaceId>, topic: Topic) {
        let change = Change {
            workspace: workspace.copied(),
            topic,
        };
        if let Some(outward) = self.shared.outward.get() {
            // It fails while the process ends.
            let _ = outward.send(change.clone());
        }
        self.hear(change);
    }

    /// Has other nodes told of what is announced here from now on, by whoever reads the answer; once.
    pub(crate) fn outward(&self) -> mpsc::UnboundedReceiver<Change> {
        let (outward, changes) = mpsc::unbounded_channel();
        let _ = self.shared.outward.set(outward);
        changes
    }

    /// Announces a change that other nodes know of, here alone.
    pub(crate) fn hear(&self, change: Change) {
        let mut kept = self.kept();
        kept.last += 1;
        if kept.recent.len() == CAPACITY {
            kept.recent.pop_front();
        }
        kept.recent.push_back(change.clone());
        // Under the lock, so that nobody hears them out of order. Fails if nobody listens.
        let _ = self.shared.changes.send(Some((kept.last, change)));
    }

    /// Tells everybody that they may have missed anything.
    pub(crate) fn doubt_everything(&self) {
        let mut kept = self.kept();
        kept.last += 1;
        kept.recent.clear();
        let _ = self.shared.changes.send(None);
    }

    /// Returns the cursor after the last change. Take it before the state that is shown with it.
    pub(crate) fn cursor(&self) -> Cursor {
        self.at(self.kept().last)
    }

    /// Listens to all that came after `known`; without it, from now on.
    pub(crate) fn listen(&self, known: Option<Cursor>) -> Listener {
        let kept = self.kept();
        let changes = self.shared.changes.subscribe();
        let known = known.unwrap_or(self.at(kept.last));
        let first_kept = kept.last - kept.recent.len() as u64;
        let is_ours = known.epoch == self.shared.epoch && known.number <= kept.last;
        let missed = if is_ours && known.number >= first_kept {
            let skipped = usize::try_from(known.number - first_kept).unwrap_or(usize::MAX);
            let missed = kept.recent.iter().skip(skipped);
            let numbers = known.number + 1..;
            numbers
                .zip(missed)
                .map(|(number, change)| Heard::Change(self.at(number), change.clone()))
                .collect()
        } else {
            VecDeque::from([Heard::Everything(self.at(kept.last))])
        };
        Listener {
            live: self.clone(),
            missed,
            changes,
        }
    }

    /// Takes a place for one more stream of `who`; `None` if they have as many as anybody can look at.
    pub(crate) fn seat(&self, who: &str) -> Option<Seat> {
        let mut seats = self.seats();
        let taken = seats.entry(who.to_owned()).or_default();
        if *taken >= MOST_STREAMS {
            return None;
        }
        *taken += 1;
        Some(Seat {
            live: self.clone(),
            who: who.to_owned(),
        })
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        // Whole at any time, as below.
        self.shared
            .seats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn at(&self, number: u64) -> Cursor {
        Cursor {
            epoch: self.shared.epoch,
            number,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whole at any time: a panic in between has left nothing half-done.
        self.shared
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Waits for the next change.
    pub(crate) async fn next(&mut self) -> Heard {
        if let Some(missed) = self.missed.pop_front() {
            return missed;
        }
        match self.changes.recv().await {
            Ok(Some((number, change))) => Heard::Change(self.live.at(number), change),
            Ok(None) => Heard::Everything(self.live.cursor()),
            // It cannot be closed: the listener holds a sender.
            Err(_) => {
                let cursor = self.live.cursor();
                self.changes = self.changes.resubscribe();
                Heard::Everything(cursor)
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.live.seats();
        match seats.get_mut(&self.who) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => {
                seats.remove(&self.who);
            }
        }
    }
}

impl Default for Live {
    fn default() -> Self {
        let mut epoch = [0; 8];
        // Should it fail, the epoch is 0, and a page of another process without luck misses a change.
        let _ = getrandom::fill(&mut epoch);
        Self {
            shared: Arc::new(Shared {
                epoch: u64::from_ne_bytes(epoch),
                kept: Mutex::default(),
                changes: broadcast::Sender::new(CAPACITY),
                outward: OnceLock::new(),
                seats: Mutex::default(),
            }),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.number)
    }
}

impl FromStr for Cursor {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, number) = text.split_once('-').ok_or(())?;
        Ok(Self {
            epoch: u64::from_str_radix(epoch, 16).map_err(|_| ())?,
            number: number.parse().map_err(|_| ())?,
        })
    }
}

/// How many streams one person may have open at once.
const MOST_STREAMS: usize = 256;
/// How many changes a listener may be behind.
const CAPACITY: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    async fn topics(listener: &mut Listener, count: usize) -> Vec<String> {
        let mut heard = Vec::new();
        for _ in 0..count {
            heard.push(match listener.next().await {
                Heard::Change(_, change) => format!("{:?}", change.topic),
                Heard::Everything(_) => "everything".to_owned(),
            });
        }
        heard
    }

    #[tokio::test]
    async fn hears_what_came_after_the_page_was_made_and_after_it_listens() {
        let live = Live::default();
        live.announce(None, Topic::Audit);
        let page = live.cursor();
        live.announce(None, Topic::Tokens);
        let mut listener = live.listen(Some(page.to_string().parse().unwrap()));
        live.announce(None, Topic::People);
        assert_eq!(topics(&mut listener, 2).await, ["Tokens", "People"]);
    }

    #[tokio::test]
    async fn is_told_to_ask_for_everything_after_another_process_or_too_long() {
        let (live, other) = (Live::default(), Live::default());
        assert_eq!(
            topics(&mut live.listen(Some(other.cursor())), 1).await,
            ["everything"]
        );
        let (page, mut slow) = (live.cursor(), live.listen(None));
        for _ in 0..=CAPACITY {
            live.announce(None, Topic::Audit);
        }
        assert_eq!(
            topics(&mut live.listen(Some(page)), 1).await,
            ["everything"]
        );
        assert_eq!(topics(&mut slow, 1).await, ["everything"]);
        live.announce(None, Topic::Tokens);
        assert_eq!(topics(&mut slow, 1).await, ["Tokens"]);
    }

    #[tokio::test]
    async fn whoever_may_have_missed_something_is_told_to_ask_for_everything() {
        let live = Live::default();
        live.announce(None, Topic::Audit);
        let page = live.cursor();
        let mut open = live.listen(None);
        live.doubt_everything();
        live.announce(None, Topic::Tokens);
        assert_eq!(topics(&mut open, 2).await, ["everything", "Tokens"]);
        assert_eq!(
            topics(&mut live.listen(Some(page)), 1).await,
            ["everything"]
        );
    }

    #[tokio::test]
    async fn other_nodes_are_told_of_what_happens_here_and_not_of_what_they_told() {
        let live = Live::default();
        let mut outward = live.outward();
        let change = |topic| Change {
            workspace: None,
            topic,
        };
        live.hear(change(Topic::Audit));
        live.announce(None, Topic::Tokens);
        assert_eq!(outward.try_recv(), Ok(change(Topic::Tokens)));
        assert!(outward.try_recv().is_err());
    }

    #[test]
    fn one_person_does_not_take_all_streams() {
        let live = Live::default();
        let mut seats: Vec<Seat> = (0..MOST_STREAMS).filter_map(|_| live.seat("ada")).collect();
        assert_eq!(seats.len(), MOST_STREAMS);
        assert!(live.seat("ada").is_none());
        assert!(live.seat("grace").is_some());
        seats.pop();
        assert!(live.seat("ada").is_some());
        seats.clear();
        assert!(live.seats().is_empty());
    }

    #[test]
    fn refuses_cursors_that_are_none() {
        for text in ["", "-", "1", "g-1", "1-", "1-x", "-1-1"] {
            assert_eq!(text.parse::<Cursor>(), Err(()), "{text}");
        }
    }
}
