//! The words of tasks: ids, states, pages. Parsed at the edge, then passed as types.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tower_workspace_token::id::WorkspaceId;

use super::{TaskError, TaskErrorKind};
use crate::db::ids;

/// The most characters of a title.
pub const MAX_TITLE: usize = 200;
/// The most bytes of a task's body and of a message.
pub const MAX_TEXT: usize = 64 * 1024;
/// How many items a page has if nothing else is asked for.
pub const DEFAULT_PAGE: u32 = 20;
/// The most items of a page.
pub const MAX_PAGE: u32 = 100;

/// Identifies a task: 11 characters of `[a-z0-9]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(String);

/// Identifies a message: 11 characters of `[a-z0-9]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessageId(String);

/// Who wrote something, or has to do it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Actor {
    /// A program that holds a workspace token.
    #[default]
    Agent,
    /// A person.
    Human,
}

/// How far a task is. Complete: it is the list of the wire protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nobody has begun.
    NotStarted,
    /// Somebody is at it.
    Ongoing,
    /// It is done.
    Completed,
    /// It waits for something.
    Blocked,
    /// It will not be done.
    Rejected,
}

/// A task to be made.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// A line; not empty, at most [`MAX_TITLE`] characters.
    pub title: String,
    /// What is to be done; at most [`MAX_TEXT`] bytes.
    pub body: String,
    /// Who is to do it.
    pub assignee: Actor,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// What it is about, in a line.
    pub title: String,
    /// What is to be done.
    pub body: String,
    /// Who is to do it.
    pub assignee: Actor,
    /// How far it is.
    pub status: Status,
    /// Who made it.
    pub author: Actor,
    /// When it was made, in RFC 3339.
    pub created_at: String,
    /// When it last changed, in RFC 3339.
    pub updated_at: String,
}

/// A message of a task's conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The task it belongs to.
    pub task: TaskId,
    /// Who wrote it.
    pub author: Actor,
    /// What was written.
    pub text: String,
    /// When, in RFC 3339.
    pub created_at: String,
}

/// Where a page begins and how long it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest<I> {
    /// The last item of the page before; `None` is the first page.
    pub cursor: Option<I>,
    /// The most items, 1 to [`MAX_PAGE`].
    pub limit: u32,
}

/// Which tasks to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only tasks of this state.
    pub status: Option<Status>,
    /// Which page.
    pub page: PageRequest<TaskId>,
}

/// A page of tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPage {
    /// The tasks, newest first.
    pub tasks: Vec<Task>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<TaskId>,
}

/// A page of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagePage {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<MessageId>,
}

/// How many tasks of a workspace are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Of [`Status::NotStarted`].
    pub not_started: u64,
    /// Of [`Status::Ongoing`].
    pub ongoing: u64,
    /// Of [`Status::Completed`].
    pub completed: u64,
    /// Of [`Status::Blocked`].
    pub blocked: u64,
    /// Of [`Status::Rejected`].
    pub rejected: u64,
}

/// What a workspace shows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceInfo {
    /// Its id.
    pub id: WorkspaceId,
    /// Its name.
    pub name: String,
    /// What it is for; may be empty.
    pub description: String,
    /// Whether it was archived.
    pub archived: bool,
}

impl TaskId {
    pub(super) fn random() -> anyhow::Result<Self> {
        ids::random_id().map(Self)
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MessageId {
    pub(super) fn random() -> anyhow::Result<Self> {
        ids::random_id().map(Self)
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! impl_id {
    ($($id:ident: $expected:literal;)*) => {$(
        impl FromStr for $id {
            type Err = TaskError;
            fn from_str(text: &str) -> Result<Self, TaskError> {
                Self::try_from(text.to_owned())
            }
        }
        impl TryFrom<String> for $id {
            type Error = TaskError;
            fn try_from(text: String) -> Result<Self, TaskError> {
                if ids::is_id(&text) {
                    Ok(Self(text))
                } else {
                    Err(TaskError::new(TaskErrorKind::Invalid($expected)))
                }
            }
        }
        impl From<$id> for String {
            fn from(id: $id) -> String {
                id.0
            }
        }
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}

impl_id! {
    TaskId: "a task id is 11 characters of a-z and 0-9";
    MessageId: "a message id is 11 characters of a-z and 0-9";
}

impl Actor {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Human => "human",
        }
    }
}

impl FromStr for Actor {
    type Err = TaskError;
    fn from_str(word: &str) -> Result<Self, TaskError> {
        [Self::Agent, Self::Human]
            .into_iter()
            .find(|actor| actor.as_str() == word)
            .ok_or_else(|| TaskError::new(TaskErrorKind::Invalid("an assignee is agent or human")))
    }
}

impl Status {
    /// All states, in the order in which they are shown.
    pub const ALL: [Self; 5] = [
        Self::NotStarted,
        Self::Ongoing,
        Self::Completed,
        Self::Blocked,
        Self::Rejected,
    ];

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "notstarted",
            Self::Ongoing => "ongoing",
            Self::Completed => "completed",
            Self::Blocked => "blocked",
            Self::Rejected => "rejected",
        }
    }
}

impl FromStr for Status {
    type Err = TaskError;
    fn from_str(word: &str) -> Result<Self, TaskError> {
        let expected = "a status is notstarted, ongoing, completed, blocked or rejected";
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == word)
            .ok_or_else(|| TaskError::new(TaskErrorKind::Invalid(expected)))
    }
}

impl<I> Default for PageRequest<I> {
    fn default() -> Self {
        Self {
            cursor: None,
            limit: DEFAULT_PAGE,
        }
    }
}

impl<I> PageRequest<I> {
    pub(super) fn check(&self) -> Result<(), TaskError> {
        if (1..=MAX_PAGE).contains(&self.limit) {
            Ok(())
        } else {
            Err(TaskError::new(TaskErrorKind::Invalid(
                "a limit is 1 to 100",
            )))
        }
    }
}

impl NewTask {
    pub(super) fn check(&self) -> Result<(), TaskError> {
        let problem = if self.title.trim().is_empty() {
            "a task needs a title"
        } else if self.title.chars().count() > MAX_TITLE {
            "a title has at most 200 characters"
        } else if self.title.chars().any(char::is_control) {
            "a title is one line, without control characters"
        } else if self.body.len() > MAX_TEXT {
            "a task's body has at most 64 KiB"
        } else {
            return Ok(());
        };
        Err(TaskError::new(TaskErrorKind::Invalid(problem)))
    }
}

/// Checks the text of a message.
pub(super) fn check_text(text: &str) -> Result<(), TaskError> {
    let problem = if text.trim().is_empty() {
        "a message needs a text"
    } else if text.len() > MAX_TEXT {
        "a message has at most 64 KiB"
    } else {
        return Ok(());
    };
    Err(TaskError::new(TaskErrorKind::Invalid(problem)))
}
