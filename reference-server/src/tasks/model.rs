//! The words of tasks: ids, states, pages. Parsed at the edge, then passed as types.

use std::{fmt, ops::Deref, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::id::WorkspaceId;

use super::{TaskError, TaskErrorKind};
use crate::{db::ids, text};

/// The most characters of a title.
pub const MAX_TITLE: usize = 200;
/// The most bytes of a task's body and of a message.
pub const MAX_TEXT: usize = 64 * 1024;
/// How many items a page has if nothing else is asked for.
pub const DEFAULT_PAGE: u32 = 20;
/// The most items of a page.
pub const MAX_PAGE: u32 = 100;

/// Identifies a task: 11 characters of `[a-z0-9]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(String);

/// Identifies a message: 11 characters of `[a-z0-9]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct MessageId(String);

/// Identifies a file that came with a task or a message: 11 characters of `[a-z0-9]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct AttachmentId(String);

/// Identifies a permission that an agent asked for: 11 characters of `[a-z0-9]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ApprovalId(String);

/// Identifies a permission that was given for good: 11 characters of `[a-z0-9]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct RuleId(String);

/// Who wrote something, or has to do it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Actor {
    /// A program that holds a workspace token.
    #[default]
    Agent,
    /// A person.
    Human,
}

/// How far a task is. Complete: it is the list of the wire protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// All of it but the body.
    #[serde(flatten)]
    pub card: TaskCard,
    /// What is to be done.
    pub body: String,
}

/// A task as it stands in lists: all of it but the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCard {
    /// Its id.
    pub id: TaskId,
    /// What it is about, in a line.
    pub title: String,
    /// How far it is.
    pub status: Status,
    /// Who is to do it.
    pub assignee: Actor,
    /// Who made it.
    pub author: Actor,
    /// What they were called: a person's name, or that of an agent's token.
    pub author_name: String,
    /// The id of the person who made it, if it was one with a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_user: Option<String>,
    /// The name of the token whose agent took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Since when it waits for a person, in RFC 3339; `None` if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks_since: Option<String>,
    /// When it was made, in RFC 3339.
    pub created_at: String,
    /// When it last changed, in RFC 3339.
    pub updated_at: String,
}

/// A message of a task's conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// The task it belongs to.
    pub task: TaskId,
    /// Who wrote it.
    pub author: Actor,
    /// What they were called: a person's name, or that of an agent's token.
    pub author_name: String,
    /// The id of the person who wrote it, if it was one with a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_user: Option<String>,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskPage {
    /// The tasks, newest first.
    pub tasks: Vec<TaskCard>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<TaskId>,
}

/// A page of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessagePage {
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<MessageId>,
}

/// How many tasks of a workspace are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Which eras of MCP it speaks.
    pub protocol: Protocol,
    /// When it was made, in RFC 3339.
    pub created_at: String,
}

/// Which eras of MCP the endpoint of a workspace speaks. Complete: it is the list of the column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Both, each request in its own.
    #[default]
    Dual,
    /// The one with sessions alone, in which the server can push.
    Legacy,
}

impl Deref for Task {
    type Target = TaskCard;
    fn deref(&self) -> &TaskCard {
        &self.card
    }
}

macro_rules! impl_id {
    ($($id:ident: $expected:literal;)*) => {$(
        impl $id {
            pub(super) fn random() -> Result<Self, TaskError> {
                ids::random_id().map(Self).map_err(TaskError::unavailable)
            }

            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
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
    ApprovalId: "an approval id is 11 characters of a-z and 0-9";
    AttachmentId: "an attachment id is 11 characters of a-z and 0-9";
    MessageId: "a message id is 11 characters of a-z and 0-9";
    RuleId: "a rule id is 11 characters of a-z and 0-9";
    TaskId: "a task id is 11 characters of a-z and 0-9";
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

impl Protocol {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dual => "dual",
            Self::Legacy => "legacy",
        }
    }
}

impl FromStr for Protocol {
    type Err = TaskError;
    fn from_str(word: &str) -> Result<Self, TaskError> {
        [Self::Dual, Self::Legacy]
            .into_iter()
            .find(|protocol| protocol.as_str() == word)
            .ok_or_else(|| TaskError::new(TaskErrorKind::Invalid("a protocol is dual or legacy")))
    }
}

impl Status {
    /// Returns whether somebody still has to do something.
    pub fn is_open(self) -> bool {
        match self {
            Self::NotStarted | Self::Ongoing | Self::Blocked => true,
            Self::Completed | Self::Rejected => false,
        }
    }

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
        check_title(&self.title)?;
        check_body(&self.body)
    }
}

pub(super) fn check_title(title: &str) -> Result<(), TaskError> {
    let problem = if title.trim().is_empty() {
        "a task needs a title"
    } else if title.chars().count() > MAX_TITLE {
        "a title has at most 200 characters"
    } else if !title.chars().all(text::is_shown_in_line) {
        "a title is one line, without control characters, what takes no room, or what turns the direction of writing"
    } else {
        return Ok(());
    };
    Err(TaskError::new(TaskErrorKind::Invalid(problem)))
}

pub(super) fn check_body(body: &str) -> Result<(), TaskError> {
    if body.len() > MAX_TEXT {
        let problem = "a task's body has at most 64 KiB";
        return Err(TaskError::new(TaskErrorKind::Invalid(problem)));
    }
    Ok(())
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
