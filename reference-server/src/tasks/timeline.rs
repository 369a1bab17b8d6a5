//! The timeline of a task: what was done to it, by whom and when. Entries are added and never changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::id::WorkspaceId;

use super::{Actor, Author, TaskError, TaskErrorKind, TaskId, read::parsed};
use crate::{
    db::{DatabaseError, Row, Transaction, named_params},
    time,
};

/// What was done. Complete: it is the list of the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// A permission was given or refused, or its agent went away: `before` is the tool, `after` the answer.
    ApprovalAnswered,
    /// An agent asked for a permission: `after` is the tool.
    ApprovalAsked,
    /// It was given to somebody else: from `before` to `after`, `agent` or `human`.
    Assigned,
    /// A file was added: `after` is its name.
    Attached,
    /// It was made.
    Created,
    /// Its title or text was changed: `before` and `after` are the titles.
    Edited,
    /// Its state was changed, from `before` to `after`.
    Status,
    /// An agent took it.
    Taken,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TimelineEvent {
    /// When, in RFC 3339.
    pub(crate) at: String,
    pub(crate) actor: Actor,
    /// A person's name, or that of the agent's token.
    pub(crate) actor_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) actor_user: Option<String>,
    pub(crate) what: What,
    pub(crate) before: String,
    pub(crate) after: String,
}

/// Adds an entry, inside of the transaction that does it.
pub(super) fn insert(
    connection: &Transaction<'_>,
    author: &Author,
    task: &TaskId,
    what: What,
    (before, after): (&str, &str),
    now: i64,
) -> Result<(), TaskError> {
    connection
        .prepare_cached(
            "INSERT INTO events (workspace, task, at, actor, actor_user, actor_name, what, before, after)
             VALUES (:workspace, :task, :at, :actor, :user, :name, :what, :before, :after)",
        )?
        .execute(named_params! {
            ":workspace": author.workspace().as_str(),
            ":task": task.as_str(),
            ":at": now,
            ":actor": author.actor().as_str(),
            ":user": author.user(),
            ":name": author.name(),
            ":what": what.as_str(),
            ":before": before,
            ":after": after,
        })?;
    Ok(())
}

/// Returns the latest `limit` entries of a task, oldest first.
pub(super) fn latest(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
    limit: u32,
) -> Result<Vec<TimelineEvent>, TaskError> {
    let mut statement = connection.prepare_cached(LATEST)?;
    let rows = statement.query_map(
        named_params! {
            ":workspace": workspace.as_str(),
            ":task": task.as_str(),
            ":limit": limit,
        },
        event_from_row,
    )?;
    let mut events: Vec<_> = rows.collect::<Result<_, _>>()?;
    events.reverse();
    Ok(events)
}

pub(super) const LATEST: &str =
    "SELECT at, actor, actor_name, actor_user, what, before, after FROM events
     WHERE task = :task AND workspace = :workspace ORDER BY number DESC LIMIT :limit";

fn event_from_row(row: &Row<'_>) -> Result<TimelineEvent, DatabaseError> {
    Ok(TimelineEvent {
        at: time::rfc3339(row.get(0)?),
        actor: parsed(row, 1)?,
        actor_name: row.get(2)?,
        actor_user: row.get(3)?,
        what: parsed(row, 4)?,
        before: row.get(5)?,
        after: row.get(6)?,
    })
}

impl What {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ApprovalAnswered => "approval_answered",
            Self::ApprovalAsked => "approval_asked",
            Self::Assigned => "assigned",
            Self::Attached => "attached",
            Self::Created => "created",
            Self::Edited => "edited",
            Self::Status => "status",
            Self::Taken => "taken",
        }
    }
}

impl std::str::FromStr for What {
    type Err = TaskError;
    fn from_str(word: &str) -> Result<Self, TaskError> {
        let all = [
            Self::ApprovalAnswered,
            Self::ApprovalAsked,
            Self::Assigned,
            Self::Attached,
            Self::Created,
            Self::Edited,
            Self::Status,
            Self::Taken,
        ];
        all.into_iter()
            .find(|what| what.as_str() == word)
            .ok_or_else(|| TaskError::new(TaskErrorKind::Invalid("unknown entry of a timeline")))
    }
}
