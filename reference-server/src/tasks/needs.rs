//! Which tasks wait for a person: the rule, and the list of what a workspace needs of people.
//!
//! A task waits for a person from the moment on that
//! - it is made for, or given to, a person, or goes back to them unbegun;
//! - it becomes blocked, by whomever;
//! - an agent asks: its message has a question mark at the end of a word, or it answers in a task of a
//!   person's, or it waits with `getTask {taskId, waitSeconds}` for what people say there;
//!
//! until a person answers with a message, sets it ongoing or gives it to agents, until an agent goes on
//! with what was blocked, or until it is completed or rejected. An agent's progress report is no
//! question, and a question stays one when reports follow. `asks_since` keeps the moment, so that lists
//! and counts read an index and no conversation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::{authority::Lease, id::WorkspaceId};

use super::{
    Actor, Approval, Author, Message, Status, TaskCard, TaskError, TaskId, Tasks, answers,
    approvals, hub, read,
};
use crate::{
    db::{DatabaseError, Transaction, lease, named_params, params},
    live::Topic,
    people::UserId,
    time,
};

/// The most that a list of needs holds; its count counts all.
pub(crate) const MAX_NEEDS: u32 = 50;

/// Something that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Need {
    pub(crate) kind: NeedKind,
    /// Since when, in RFC 3339.
    pub(crate) since: String,
    /// The task; absent for an approval that belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<TaskCard>,
    /// What is to be done, as long as nothing was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    /// What was said last in the task, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_message: Option<Message>,
    /// The approval that is asked for, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) approval: Option<Approval>,
}

/// What sort of answer is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NeedKind {
    /// An agent asks for a permission: allow or deny.
    Approval,
    /// A task is blocked.
    Blocked,
    /// A task is a person's to do, or an agent has asked something.
    Question,
}

/// What a workspace needs of people, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct NeedsPage {
    pub(crate) needs: Vec<Need>,
    /// How many there are, more than `needs` holds included.
    pub(crate) count: u64,
}

/// What happens to a task.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    /// An agent waits for what a person says.
    AgentWaits,
    /// It is given to somebody.
    Assigned(Actor),
    /// Somebody writes a message.
    Message(Actor, &'a str),
    /// Somebody changes the state.
    Status(Actor, Status),
}

/// How a task stands before that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) status: Status,
    pub(super) assignee: Actor,
    pub(super) asks_since: Option<i64>,
}

impl Standing {
    pub(super) fn of_new(assignee: Actor, now: i64) -> Self {
        Self {
            status: Status::NotStarted,
            assignee,
            asks_since: (assignee == Actor::Human).then_some(now),
        }
    }

    /// Returns since when the task waits for a person after the author's `step`, and keeps how long it
    /// waited if the step is a person's answer.
    pub(super) fn settle(
        self,
        connection: &Transaction<'_>,
        author: &Author,
        step: Step<'_>,
        now: i64,
    ) -> Result<Option<i64>, TaskError> {
        let after = self.after(step, now);
        if let (Some(since), None, Actor::Human) = (self.asks_since, after, author.actor()) {
            answers::note(connection, author.workspace(), since, now)?;
        }
        Ok(after)
    }

    fn after(self, step: Step<'_>, now: i64) -> Option<i64> {
        self.waits_after(step)
            .then(|| self.asks_since.unwrap_or(now))
    }

    fn waits_after(self, step: Step<'_>) -> bool {
        let (is_open, waits) = (self.status.is_open(), self.asks_since.is_some());
        let is_persons = self.assignee == Actor::Human;
        match step {
            Step::AgentWaits => is_open,
            Step::Assigned(to) => is_open && to == Actor::Human,
            Step::Message(Actor::Human, _) => false,
            Step::Message(Actor::Agent, text) => is_open && (waits || is_persons || asks(text)),
            Step::Status(_, Status::Completed | Status::Rejected) => false,
            Step::Status(_, Status::Blocked) => true,
            Step::Status(_, Status::NotStarted) => is_persons,
            Step::Status(Actor::Human, Status::Ongoing) => false,
            // What was blocked goes on; a question that was asked before stays one.
            Step::Status(Actor::Agent, Status::Ongoing) => waits && self.status != Status::Blocked,
        }
    }
}

/// Returns whether a text asks something: it has a question mark that ends a word, as that of a URL's query does not.
fn asks(text: &str) -> bool {
    let marks = text.match_indices(['?', '？', '؟']);
    marks.into_iter().any(|(at, mark)| {
        let next = text[at + mark.len()..].chars().next();
        // The full-width one needs no space behind it.
        mark != "?" || next.is_none_or(|next| !next.is_alphanumeric() && !"%&/=#_".contains(next))
    })
}

impl Tasks {
    /// Returns what the workspace needs of people, oldest first.
    pub(crate) async fn needs(&self, workspace: &WorkspaceId) -> Result<NeedsPage, TaskError> {
        let workspace = *workspace;
        self.database
            .read(move |snapshot| {
                let mut needs = questions(snapshot, &workspace)?;
                needs.extend(asked_approvals(snapshot, &workspace)?);
                needs.sort_by_key(|(since, _)| *since);
                needs.truncate(MAX_NEEDS as usize);
                Ok(NeedsPage {
                    needs: needs.into_iter().map(|(_, need)| need).collect(),
                    count: count(snapshot, &workspace)?,
                })
            })
            .await
    }

    /// Returns how much the workspace needs of people.
    pub(crate) async fn needs_count(&self, workspace: &WorkspaceId) -> Result<u64, TaskError> {
        let workspace = *workspace;
        self.database
            .read(move |snapshot| count(snapshot, &workspace))
            .await
    }

    /// Notes that an agent waits for what people say about a task.
    pub(crate) async fn agent_waits(&self, agent: &Lease, task: &TaskId) -> Result<(), TaskError> {
        let workspace = *agent.workspace();
        let known = {
            let task = task.clone();
            let read = move |snapshot: &crate::db::Transaction<'_>| {
                read::standing(snapshot, &workspace, &task)
            };
            self.database.read(read).await?
        };
        // Most calls of an agent that waits again and again end here, without a write.
        if known.asks_since.is_some() || !known.status.is_open() {
            return Ok(());
        }
        let (agent, task, now) = (agent.clone(), task.clone(), time::now());
        let topic = Topic::Task(task.to_string());
        self.write_and_announce(
            workspace,
            move |transaction| {
                lease::check(transaction, &agent)?;
                let standing = read::standing(transaction, &workspace, &task)?;
                let asks_since = standing.after(Step::AgentWaits, now);
                set(transaction, &workspace, &task, asks_since)
            },
            move |()| [hub::Announcement::Topic(topic)],
        )
        .await
    }
}

/// Writes since when a task waits.
pub(super) fn set(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
    asks_since: Option<i64>,
) -> Result<(), TaskError> {
    connection
        .prepare_cached("UPDATE tasks SET asks_since = ?3 WHERE workspace = ?1 AND id = ?2")?
        .execute(params![workspace.as_str(), task.as_str(), asks_since])?;
    Ok(())
}

fn questions(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
) -> Result<Vec<(i64, Need)>, TaskError> {
    let mut statement = connection.prepare_cached(&questions_sql())?;
    let rows = statement.query_map(
        named_params! { ":workspace": workspace.as_str(), ":limit": MAX_NEEDS },
        |row| Ok((read::card_from_row(row)?, row.get::<_, i64>("since")?)),
    )?;
    let found: Vec<(TaskCard, i64)> = rows.collect::<Result<_, _>>()?;
    let need = |(card, since): (TaskCard, i64)| {
        let kind = match card.status {
            Status::Blocked => NeedKind::Blocked,
            _ => NeedKind::Question,
        };
        let last_message = read::last_message(connection, workspace, &card.id)?;
        let body = match last_message {
            Some(_) => None,
            None => Some(read::find(connection, workspace, &card.id)?.body),
        };
        let need = Need {
            kind,
            since: time::rfc3339(since),
            body,
            last_message,
            task: Some(card),
            approval: None,
        };
        Ok((since, need))
    };
    found.into_iter().map(need).collect()
}

pub(super) fn questions_sql() -> String {
    format!(
        "SELECT {}, asks_since AS since FROM tasks
         WHERE workspace = :workspace AND asks_since IS NOT NULL
         ORDER BY asks_since LIMIT :limit",
        read::CARD_COLUMNS
    )
}

fn asked_approvals(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
) -> Result<Vec<(i64, Need)>, TaskError> {
    let pending = approvals::pending(connection, workspace, MAX_NEEDS)?;
    let need = |(since, approval): (i64, Approval)| {
        let task = approval.task.as_ref();
        let task = task.map(|task| read::find(connection, workspace, task));
        let need = Need {
            kind: NeedKind::Approval,
            since: time::rfc3339(since),
            task: task.transpose()?.map(|task| task.card),
            body: None,
            last_message: None,
            approval: Some(approval),
        };
        Ok((since, need))
    };
    pending.into_iter().map(need).collect()
}

fn count(connection: &Transaction<'_>, workspace: &WorkspaceId) -> Result<u64, TaskError> {
    let count: i64 = connection
        .prepare_cached(COUNT)?
        .query_row([workspace.as_str()], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

pub(super) const COUNT: &str =
    "SELECT (SELECT count(*) FROM tasks WHERE workspace = ?1 AND asks_since IS NOT NULL)
          + (SELECT count(*) FROM approvals WHERE workspace = ?1 AND state = 'pending')";

/// Returns how much each workspace needs of people, for all workspaces of a person, or of the server.
pub(crate) fn counts(
    connection: &Transaction<'_>,
    user: Option<&UserId>,
) -> Result<Vec<(String, u64)>, DatabaseError> {
    let mut statement = connection.prepare_cached(COUNTS)?;
    let rows = statement.query_map([user.map(UserId::as_str)], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
    })?;
    rows.collect::<Result<_, _>>()
}

pub(super) const COUNTS: &str = "SELECT workspace, CAST(sum(many) AS BIGINT) FROM (
         SELECT workspace, count(*) AS many FROM tasks
          WHERE asks_since IS NOT NULL GROUP BY workspace
         UNION ALL
         SELECT workspace, count(*) FROM approvals WHERE state = 'pending' GROUP BY workspace) AS waiting
     WHERE workspace IN (SELECT workspace FROM members WHERE user = ?1) OR ?1 IS NULL
     GROUP BY workspace";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_mark_at_the_end_of_a_word_asks() {
        for text in [
            "Which port?",
            "May I? I would.",
            "(really?)",
            "**Which one?**",
            "港口？",
            "what?\nthat",
        ] {
            assert!(asks(text), "{text}");
        }
        for text in [
            "done",
            "see https://host/a?b=c",
            "on it.",
            "",
            "a?.b ?? c".split_at(1).0,
        ] {
            assert!(!asks(text), "{text}");
        }
    }

    #[test]
    fn whose_turn_it_is_after_each_step() {
        use Actor::{Agent, Human};
        let standing = |status, assignee, waits: bool| Standing {
            status,
            assignee,
            asks_since: waits.then_some(1),
        };
        let agents = |status, waits| standing(status, Agent, waits);
        let persons = |status, waits| standing(status, Human, waits);
        let (fresh, busy) = (Status::NotStarted, Status::Ongoing);
        for (name, before, step, waits) in [
            (
                "report",
                agents(busy, false),
                Step::Message(Agent, "on it"),
                false,
            ),
            (
                "question",
                agents(busy, false),
                Step::Message(Agent, "Why?"),
                true,
            ),
            (
                "report after it",
                agents(busy, true),
                Step::Message(Agent, "on it"),
                true,
            ),
            (
                "answer",
                agents(busy, true),
                Step::Message(Human, "so"),
                false,
            ),
            (
                "answer to blocked",
                agents(Status::Blocked, true),
                Step::Message(Human, "so"),
                false,
            ),
            (
                "question when done",
                agents(Status::Completed, false),
                Step::Message(Agent, "Ok?"),
                false,
            ),
            (
                "agent in a person's",
                persons(fresh, false),
                Step::Message(Agent, "hm"),
                true,
            ),
            ("agent waits", agents(busy, false), Step::AgentWaits, true),
            (
                "agent waits, done",
                agents(Status::Rejected, false),
                Step::AgentWaits,
                false,
            ),
            (
                "to a person",
                agents(busy, false),
                Step::Assigned(Human),
                true,
            ),
            (
                "to agents",
                persons(fresh, true),
                Step::Assigned(Agent),
                false,
            ),
            (
                "blocked",
                agents(busy, false),
                Step::Status(Agent, Status::Blocked),
                true,
            ),
            (
                "goes on",
                agents(Status::Blocked, true),
                Step::Status(Agent, busy),
                false,
            ),
            (
                "begins, asked",
                agents(fresh, true),
                Step::Status(Agent, busy),
                true,
            ),
            (
                "person begins",
                persons(fresh, true),
                Step::Status(Human, busy),
                false,
            ),
            (
                "back to a person",
                persons(busy, false),
                Step::Status(Human, fresh),
                true,
            ),
            (
                "completed",
                agents(busy, true),
                Step::Status(Agent, Status::Completed),
                false,
            ),
            (
                "rejected",
                persons(fresh, true),
                Step::Status(Human, Status::Rejected),
                false,
            ),
        ] {
            assert_eq!(before.after(step, 2).is_some(), waits, "{name}");
        }
    }

    #[test]
    fn the_moment_is_that_of_the_first_question() {
        let standing = Standing::of_new(Actor::Human, 1);
        let step = Step::Status(Actor::Agent, Status::Blocked);
        assert_eq!(standing.after(step, 9), Some(1));
    }
}
