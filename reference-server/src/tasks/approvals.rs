//! Permissions that agents ask people for, and the rules that give them for good.
//!
//! A request belongs to one session of one generation of a token. Its answer goes to that session and to
//! no other; when the session has ended, or the token was regenerated, the request is closed and can't be
//! answered any more. An answer is given once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::{
    authority::Lease,
    id::{Generation, SlotKey, TokenName, WorkspaceId},
};

use super::{
    ApprovalId, Author, RuleId, SessionInbox, SessionKey, TaskError, TaskErrorKind, TaskId, Tasks,
    Verdict, What, answers, hub::Announcement, read::parsed, timeline, write::admit,
};
use crate::{
    db::{DatabaseError, OptionalExtension as _, Row, Transaction, lease, named_params, params},
    live::Topic,
    text, time,
};

/// The most requests of a session that wait for an answer.
pub(crate) const MAX_PENDING: u32 = 32;
/// The most bytes of the id that an agent gives its request, and of a tool's name.
pub(crate) const MAX_REQUEST_ID: usize = 128;

/// How many requests are looked for in one transaction.
const LOOKED_FOR_AT_ONCE: usize = 500;

const MAX_DESCRIPTION: usize = 4 * 1024;
const MAX_PREVIEW: usize = 16 * 1024;
const MAX_RULES: u32 = 500;

/// What an agent asks for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct ApprovalRequest {
    /// The id that the agent gives it; goes back with the answer.
    pub(crate) request_id: String,
    pub(crate) tool_name: String,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) input_preview: String,
}

/// A permission that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Approval {
    pub(crate) id: ApprovalId,
    /// The task that the agent was at, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<TaskId>,
    /// The name of the token whose agent asks.
    pub(crate) agent: String,
    /// The tool that the agent wants to use.
    pub(crate) tool: String,
    pub(crate) description: String,
    /// The beginning of what the tool would be given.
    pub(crate) preview: String,
    pub(crate) state: ApprovalState,
    /// Whether a rule answered, and nobody was asked.
    pub(crate) by_rule: bool,
    /// Who answered, or made the rule that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answered_by: Option<String>,
    /// When it was asked, in RFC 3339.
    pub(crate) created_at: String,
    /// When it was answered or its agent went away, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) closed_at: Option<String>,
}

/// What became of it. Complete: it is the list of the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ApprovalState {
    Allowed,
    Denied,
    /// The agent went away: its session ended, or its token was regenerated.
    Gone,
    Pending,
}

/// What a person says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    Allow,
    /// And the same tool of the same token's agents from now on, unasked.
    Always,
    Deny,
}

/// A permission that was given for good: to the agents of one token, for one tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ApprovalRule {
    pub(crate) id: RuleId,
    /// The name of the token. The rule outlives a regeneration of it, not its revocation.
    pub(crate) agent: String,
    pub(crate) tool: String,
    pub(crate) made_by: String,
    /// In RFC 3339.
    pub(crate) created_at: String,
}

/// What the database knows of a request besides.
struct Asked {
    approval: Approval,
    session: SessionKey,
    request: String,
    generation: i64,
}

impl Tasks {
    /// Opens an inbox for the answers to a session's requests.
    pub(crate) fn open_session(&self) -> Result<SessionInbox, TaskError> {
        self.sessions.open()
    }

    /// Keeps a session's request and shows it to people, or answers it at once if there is a rule.
    ///
    /// # Errors
    /// The request is not well-formed, too many of the session wait already, or one of the same id does;
    /// the agent's token was regenerated; or the database failed.
    pub(crate) async fn ask(
        &self,
        agent: &Lease,
        session: &SessionKey,
        request: ApprovalRequest,
    ) -> Result<Approval, TaskError> {
        let request = request.checked()?;
        let workspace = *agent.workspace();
        let (author, now) = (Author::Agent(agent.clone()), time::now());
        let (id, asked_in) = (ApprovalId::random()?, session.clone());
        self.sessions.expect(session, id.clone());
        let asked = id.clone();
        let work = move |transaction: &Transaction<'_>| {
            admit(transaction, &author)?;
            insert(transaction, &author, &asked, &asked_in, &request, now)
        };
        // With a verdict, if there is a rule.
        let written = self.write_and_announce(workspace, work, Asked::announcements);
        let written = written.await.inspect_err(|error| {
            // Otherwise it may be written all the same, and be answered.
            if !error.is_undecided() {
                self.sessions.forget(session, &id);
            }
        });
        let approval = written?.approval;
        // It may have ended while this was written, and then nobody else closes it.
        if !self.sessions.is_open(session) {
            self.close_session(&workspace, session).await?;
        }
        Ok(approval)
    }

    /// Answers a request: once, and only while the session that made it is there, under its own generation.
    ///
    /// # Errors
    /// There is no such request in this workspace, it has been answered, its agent went away, the
    /// workspace was archived, or the database failed.
    pub(crate) async fn answer(
        &self,
        author: Author,
        id: &ApprovalId,
        answer: Answer,
    ) -> Result<Approval, TaskError> {
        let (workspace, id, now) = (*author.workspace(), id.clone(), time::now());
        let sessions = self.sessions.clone();
        // Before it is asked who is alive, so that the node of whoever asked is among them.
        let of = id.clone();
        self.database
            .read(move |snapshot| find(snapshot, &workspace, &of).map(drop))
            .await?;
        let alive = self.nodes.alive().await;
        let alive = alive.map_err(TaskError::unavailable)?;
        let work = move |transaction: &Transaction<'_>| {
            admit(transaction, &author)?;
            let asked = find(transaction, &workspace, &id)?;
            match asked.approval.state {
                ApprovalState::Pending => {}
                ApprovalState::Gone => return Err(TaskError::new(TaskErrorKind::AgentGone)),
                ApprovalState::Allowed | ApprovalState::Denied => {
                    return Err(TaskError::new(TaskErrorKind::AlreadyAnswered));
                }
            }
            let is_there = sessions.may_be_open(&asked.session, &alive)
                && holds(transaction, &workspace, &asked)?;
            let state = match (is_there, answer) {
                (false, _) => ApprovalState::Gone,
                (true, Answer::Allow | Answer::Always) => ApprovalState::Allowed,
                (true, Answer::Deny) => ApprovalState::Denied,
            };
            close(transaction, &author, &asked.approval, state, now)?;
            if is_there && answer == Answer::Always {
                insert_rule(transaction, &author, &asked.approval, now)?;
            }
            find(transaction, &workspace, &id)
        };
        let written = self.write_and_announce(workspace, work, Asked::announcements);
        let asked = written.await?;
        match asked.approval.state {
            ApprovalState::Gone => Err(TaskError::new(TaskErrorKind::AgentGone)),
            _ => Ok(asked.approval),
        }
    }

    /// Looks for answers to sessions of this node that nobody told of, if there may be any.
    pub(crate) async fn look_for_answers(&self) -> Result<(), DatabaseError> {
        if !self.sessions.take_doubt() {
            return Ok(());
        }
        let waiting = self.sessions.waiting();
        for some in waiting.chunks(LOOKED_FOR_AT_ONCE) {
            let some = some.to_vec();
            let found = self
                .database
                .read(move |snapshot| find_answers(snapshot, &some))
                .await
                .inspect_err(|_| self.sessions.doubt())?;
            for (session, verdict) in found {
                self.sessions.send(&session, verdict);
            }
        }
        Ok(())
    }

    /// Closes what a session that has ended still waits for.
    pub(crate) async fn close_session(
        &self,
        workspace: &WorkspaceId,
        session: &SessionKey,
    ) -> Result<(), TaskError> {
        let (workspace, session, now) = (*workspace, session.clone(), time::now());
        let work = move |transaction: &Transaction<'_>| {
            let mut statement = transaction.prepare_cached(&format!(
                "UPDATE approvals SET state = 'gone', closed_at = ?2
                 WHERE session = ?1 AND state = 'pending' RETURNING {COLUMNS}"
            ))?;
            let rows = statement.query_map(params![session.as_str(), now], from_row)?;
            let closed: Vec<Approval> = rows.collect::<Result<_, _>>()?;
            for approval in &closed {
                tell_gone(transaction, &workspace, approval, now)?;
            }
            Ok::<_, TaskError>(closed)
        };
        let closed = self.write_and_announce(workspace, work, |closed: &Vec<Approval>| {
            let announcements = closed.iter().flat_map(announcements);
            announcements.collect::<Vec<_>>()
        });
        closed.await.map(drop)
    }

    /// Closes what sessions wait for that are gone with their process: with this one, before it was started
    /// again, or with another node.
    pub(crate) async fn close_sessions_of_the_dead(&self) -> Result<(), TaskError> {
        // Before it is asked who is alive: whoever begins meanwhile is not taken for dead.
        let waiting = self.database.read(waiting_sessions).await?;
        if waiting.is_empty() {
            return Ok(());
        }
        let alive = self.nodes.alive().await;
        let alive = alive.map_err(TaskError::unavailable)?;
        let mut outcome = Ok(());
        for (workspace, session) in waiting {
            if !self.sessions.may_be_open(&session, &alive) {
                // One that cannot be closed keeps none of the others open.
                outcome = outcome.and(self.close_session(&workspace, &session).await);
            }
        }
        outcome
    }

    /// Returns the approvals of a workspace, newest first: those that wait, or the latest of all.
    pub(crate) async fn approvals(
        &self,
        workspace: &WorkspaceId,
        limit: u32,
    ) -> Result<Vec<Approval>, TaskError> {
        let workspace = *workspace;
        self.database
            .read(move |snapshot| {
                let mut statement = snapshot.prepare_cached(&latest_sql())?;
                let rows = statement.query_map(params![workspace.as_str(), limit], from_row)?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Returns the rules of a workspace, by token and tool.
    pub(crate) async fn rules(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<ApprovalRule>, TaskError> {
        let workspace = *workspace;
        self.database
            .read(move |snapshot| {
                let mut statement = snapshot.prepare_cached(RULES)?;
                let rows = statement.query_map([workspace.as_str()], rule_from_row)?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    /// Takes a rule back; people are asked again from now on.
    ///
    /// # Errors
    /// There is no such rule in this workspace, or the database failed.
    pub(crate) async fn remove_rule(
        &self,
        workspace: &WorkspaceId,
        rule: &RuleId,
    ) -> Result<(), TaskError> {
        let (workspace, rule) = (*workspace, rule.clone());
        self.write_and_announce(
            workspace,
            move |transaction| {
                let removed = transaction.execute(
                    "DELETE FROM approval_rules WHERE workspace = ?1 AND id = ?2",
                    [workspace.as_str(), rule.as_str()],
                )?;
                match removed {
                    0 => Err(TaskError::new(TaskErrorKind::NoRule)),
                    _ => Ok(()),
                }
            },
            |()| [Announcement::Topic(Topic::Approvals)],
        )
        .await
    }

    /// Takes all rules of a token back, whose name may come to mean another machine.
    pub(crate) async fn remove_rules_of(
        &self,
        workspace: &WorkspaceId,
        slot: &TokenName,
    ) -> Result<(), TaskError> {
        let (workspace, slot) = (*workspace, *slot);
        self.write_and_announce(
            workspace,
            move |transaction| {
                transaction.execute(
                    "DELETE FROM approval_rules WHERE workspace = ?1 AND slot = ?2",
                    [workspace.as_str(), slot.as_str()],
                )?;
                Ok(())
            },
            |()| [Announcement::Topic(Topic::Approvals)],
        )
        .await
    }
}

impl ApprovalRequest {
    /// The id and the tool are refused if they are too long, since they must come back as they were; the
    /// rest is for people to read, and says where it was cut.
    fn checked(self) -> Result<Self, TaskError> {
        let is_name = |name: &str| {
            !name.is_empty() && name.len() <= MAX_REQUEST_ID && name.chars().all(text::is_shown)
        };
        if !is_name(&self.request_id) || !is_name(&self.tool_name) {
            return Err(TaskError::new(TaskErrorKind::Invalid(
                "a permission request has a request_id and a tool_name of at most 128 bytes",
            )));
        }
        Ok(Self {
            description: cut(text::spelled_out(self.description), MAX_DESCRIPTION),
            input_preview: cut(text::spelled_out(self.input_preview), MAX_PREVIEW),
            ..self
        })
    }
}

fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push_str("\n… (cut off here)");
    }
    text
}

impl Asked {
    /// Returns what is told of it: to pages, and to the session that asked what the answer is, if there is one.
    fn announcements(&self) -> Vec<Announcement> {
        let verdict = self.verdict().map(|verdict| Announcement::Verdict {
            session: self.session.clone(),
            verdict,
        });
        let mut all = announcements(&self.approval);
        all.extend(verdict);
        all
    }

    /// Returns the answer, if there is one.
    fn verdict(&self) -> Option<Verdict> {
        let is_allowed = match self.approval.state {
            ApprovalState::Allowed => true,
            ApprovalState::Denied => false,
            ApprovalState::Gone | ApprovalState::Pending => return None,
        };
        Some(Verdict {
            approval: self.approval.id.clone(),
            request: self.request.clone(),
            is_allowed,
        })
    }
}

/// Returns what pages are told: of the approval, and of the task that it belongs to.
fn announcements(approval: &Approval) -> Vec<Announcement> {
    let task = approval.task.as_ref();
    let task = task.map(|task| Topic::Task(task.to_string()));
    let topics = [Some(Topic::Approvals), task].into_iter().flatten();
    topics.map(Announcement::Topic).collect()
}

fn insert(
    connection: &Transaction<'_>,
    author: &Author,
    id: &ApprovalId,
    session: &SessionKey,
    request: &ApprovalRequest,
    now: i64,
) -> Result<Asked, TaskError> {
    let Author::Agent(agent) = author else {
        return Err(TaskError::new(TaskErrorKind::Invalid(
            "people need not ask",
        )));
    };
    check_pending(connection, session, request)?;
    let rule = rule_for(connection, agent, &request.tool_name)?;
    let task = task_of(connection, agent)?;
    connection
        .prepare_cached(
            "INSERT INTO approvals (id, workspace, task, session, slot, generation, made_with, request, tool,
                                    description, preview, state, by_rule, answered_by_user, answered_by,
                                    created_at, closed_at)
             VALUES (:id, :workspace, :task, :session, :slot, :generation, :made_with, :request, :tool,
                     :description, :preview, :state, :by_rule, :user, :name, :now, :closed_at)",
        )?
        .execute(named_params! {
            ":id": id.as_str(),
            ":workspace": agent.workspace().as_str(),
            ":task": task.as_ref().map(TaskId::as_str),
            ":session": session.as_str(),
            ":slot": agent.name().as_str(),
            ":generation": generation(agent),
            ":made_with": agent.token_id().as_str(),
            ":request": request.request_id,
            ":tool": request.tool_name,
            ":description": request.description,
            ":preview": request.input_preview,
            ":state": if rule.is_some() { "allowed" } else { "pending" },
            ":by_rule": rule.is_some(),
            ":user": rule.as_ref().and_then(|(user, _)| user.as_deref()),
            ":name": rule.as_ref().map(|(_, name)| name),
            ":now": now,
            ":closed_at": rule.is_some().then_some(now),
        })?;
    if let Some(task) = &task {
        let tool = request.tool_name.as_str();
        timeline::insert(
            connection,
            author,
            task,
            What::ApprovalAsked,
            ("", tool),
            now,
        )?;
        if rule.is_some() {
            let answer = (tool, "allowed by rule");
            timeline::insert(
                connection,
                author,
                task,
                What::ApprovalAnswered,
                answer,
                now,
            )?;
        }
    }
    find(connection, agent.workspace(), id)
}

fn check_pending(
    connection: &Transaction<'_>,
    session: &SessionKey,
    request: &ApprovalRequest,
) -> Result<(), TaskError> {
    let (pending, same): (u32, u32) = connection
        .prepare_cached(
            "SELECT count(*), count(*) FILTER (WHERE request = ?2) FROM approvals
             WHERE session = ?1 AND state = 'pending'",
        )?
        .query_row([session.as_str(), &request.request_id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let problem = if same > 0 {
        "a request of this id waits for its answer already"
    } else if pending >= MAX_PENDING {
        "too many requests of this session wait for an answer"
    } else {
        return Ok(());
    };
    Err(TaskError::new(TaskErrorKind::Invalid(problem)))
}

/// Returns the task that the agents of a token are at: the one that changed last.
fn task_of(connection: &Transaction<'_>, agent: &Lease) -> Result<Option<TaskId>, TaskError> {
    let task = connection
        .prepare_cached(
            "SELECT id FROM tasks WHERE workspace = ?1 AND taken_with = ?2 AND status = 'ongoing'
             ORDER BY updated_at DESC LIMIT 1",
        )?
        .query_row(
            [agent.workspace().as_str(), agent.token_id().as_str()],
            |row| parsed(row, 0),
        )
        .optional()?;
    Ok(task)
}

/// Returns who made the rule that answers, if there is one.
fn rule_for(
    connection: &Transaction<'_>,
    agent: &Lease,
    tool: &str,
) -> Result<Option<(Option<String>, String)>, TaskError> {
    let rule = connection
        .prepare_cached(
            "SELECT made_by_user, made_by FROM approval_rules
             WHERE workspace = ?1 AND slot = ?2 AND tool = ?3",
        )?
        .query_row(
            [agent.workspace().as_str(), agent.name().as_str(), tool],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    Ok(rule)
}

/// Returns whether the generation that asked is still the current one, as of this transaction.
fn holds(
    transaction: &Transaction<'_>,
    workspace: &WorkspaceId,
    asked: &Asked,
) -> Result<bool, TaskError> {
    let name = asked.approval.agent.parse();
    let name: TokenName = name.map_err(TaskError::unavailable)?;
    let generation = u64::try_from(asked.generation).ok();
    match generation.and_then(Generation::from_number) {
        None => Ok(false),
        Some(generation) => {
            lease::is_current(transaction, &SlotKey::new(*workspace, name), generation)
        }
    }
}

/// Returns the sessions that wait for an answer, and where.
fn waiting_sessions(
    transaction: &Transaction<'_>,
) -> Result<Vec<(WorkspaceId, SessionKey)>, TaskError> {
    let sql = "SELECT DISTINCT workspace, session FROM approvals WHERE state = 'pending'";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let workspace: String = row.get(0)?;
        let workspace = workspace.parse().map_err(DatabaseError::unreadable)?;
        Ok((workspace, SessionKey::of_column(row.get(1)?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn close(
    connection: &Transaction<'_>,
    author: &Author,
    approval: &Approval,
    state: ApprovalState,
    now: i64,
) -> Result<(), TaskError> {
    let is_answer = state != ApprovalState::Gone;
    connection
        .prepare_cached(
            "UPDATE approvals SET state = :state, answered_by_user = :user, answered_by = :name, closed_at = :now
             WHERE id = :id AND state = 'pending'",
        )?
        .execute(named_params! {
            ":state": state.as_str(),
            ":user": author.user().filter(|_| is_answer),
            ":name": is_answer.then(|| author.name()),
            ":now": now,
            ":id": approval.id.as_str(),
        })?;
    if is_answer {
        answers::note_approval(connection, author.workspace(), &approval.id, now)?;
    }
    match &approval.task {
        Some(task) if is_answer => {
            let answer = (approval.tool.as_str(), state.as_str());
            timeline::insert(
                connection,
                author,
                task,
                What::ApprovalAnswered,
                answer,
                now,
            )
        }
        Some(_) => tell_gone(connection, author.workspace(), approval, now),
        None => Ok(()),
    }
}

/// Puts into the timeline that an agent went away, in the agent's own name.
fn tell_gone(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    approval: &Approval,
    now: i64,
) -> Result<(), TaskError> {
    let Some(task) = &approval.task else {
        return Ok(());
    };
    connection
        .prepare_cached(
            "INSERT INTO events (workspace, task, at, actor, actor_name, what, before, after)
             VALUES (?1, ?2, ?3, 'agent', ?4, 'approval_answered', ?5, 'gone')",
        )?
        .execute(params![
            workspace.as_str(),
            task.as_str(),
            now,
            approval.agent,
            approval.tool
        ])?;
    Ok(())
}

fn insert_rule(
    connection: &Transaction<'_>,
    author: &Author,
    approval: &Approval,
    now: i64,
) -> Result<(), TaskError> {
    let rules: u32 = connection
        .prepare_cached("SELECT count(*) FROM approval_rules WHERE workspace = ?1")?
        .query_row([author.workspace().as_str()], |row| row.get(0))?;
    if rules >= MAX_RULES {
        return Err(TaskError::new(TaskErrorKind::Invalid(
            "there are 500 rules already: remove some first",
        )));
    }
    connection
        .prepare_cached(
            "INSERT INTO approval_rules (id, workspace, slot, tool, made_by_user, made_by, created_at)
             VALUES (:id, :workspace, :slot, :tool, :user, :name, :now)
             ON CONFLICT (workspace, slot, tool) DO NOTHING",
        )?
        .execute(named_params! {
            ":id": RuleId::random()?.as_str(),
            ":workspace": author.workspace().as_str(),
            ":slot": approval.agent,
            ":tool": approval.tool,
            ":user": author.user(),
            ":name": author.name(),
            ":now": now,
        })?;
    Ok(())
}

const COLUMNS: &str = "id, task, slot, tool, description, preview, state, by_rule, answered_by, created_at, closed_at";

fn from_row(row: &Row<'_>) -> Result<Approval, DatabaseError> {
    Ok(Approval {
        id: parsed(row, 0)?,
        task: match row.get::<_, Option<String>>(1)? {
            Some(_) => Some(parsed(row, 1)?),
            None => None,
        },
        agent: row.get(2)?,
        tool: row.get(3)?,
        description: row.get(4)?,
        preview: row.get(5)?,
        state: parsed(row, 6)?,
        by_rule: row.get(7)?,
        answered_by: row.get(8)?,
        created_at: time::rfc3339(row.get(9)?),
        closed_at: row.get::<_, Option<i64>>(10)?.map(time::rfc3339),
    })
}

fn find(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    id: &ApprovalId,
) -> Result<Asked, TaskError> {
    connection
        .prepare_cached(&asked_sql("workspace = ?1 AND id = ?2"))?
        .query_row([workspace.as_str(), id.as_str()], asked_from_row)
        .optional()?
        .ok_or_else(|| TaskError::new(TaskErrorKind::NoApproval))
}

/// Returns the answers to those of `ids` that have one, and for whom, of whichever workspaces.
fn find_answers(
    connection: &Transaction<'_>,
    ids: &[ApprovalId],
) -> Result<Vec<(SessionKey, Verdict)>, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT session, request, state = 'allowed' FROM approvals
         WHERE id = ?1 AND state IN ('allowed', 'denied')",
    )?;
    let mut found = Vec::new();
    for id in ids {
        let answer = statement.query_row([id.as_str()], |row| {
            let verdict = Verdict {
                approval: id.clone(),
                request: row.get(1)?,
                is_allowed: row.get(2)?,
            };
            Ok((SessionKey::of_column(row.get(0)?), verdict))
        });
        found.extend(answer.optional()?);
    }
    Ok(found)
}

fn asked_sql(condition: &str) -> String {
    format!("SELECT {COLUMNS}, session, request, generation FROM approvals WHERE {condition}")
}

fn asked_from_row(row: &Row<'_>) -> Result<Asked, DatabaseError> {
    Ok(Asked {
        approval: from_row(row)?,
        session: SessionKey::of_column(row.get(11)?),
        request: row.get(12)?,
        generation: row.get(13)?,
    })
}

/// Returns what waits for an answer, oldest first, and since when.
pub(super) fn pending(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    limit: u32,
) -> Result<Vec<(i64, Approval)>, TaskError> {
    let mut statement = connection.prepare_cached(&pending_sql())?;
    let rows = statement.query_map(params![workspace.as_str(), limit], |row| {
        Ok((row.get("created_at")?, from_row(row)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn pending_sql() -> String {
    format!(
        "SELECT {COLUMNS} FROM approvals WHERE workspace = ?1 AND state = 'pending'
         ORDER BY created_at LIMIT ?2"
    )
}

/// Returns the latest of a task, oldest first.
pub(super) fn of_task(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
    limit: u32,
) -> Result<Vec<Approval>, TaskError> {
    let mut statement = connection.prepare_cached(&of_task_sql())?;
    let rows = statement.query_map(params![task.as_str(), workspace.as_str(), limit], from_row)?;
    let mut approvals: Vec<_> = rows.collect::<Result<_, _>>()?;
    approvals.reverse();
    Ok(approvals)
}

pub(super) fn of_task_sql() -> String {
    format!(
        "SELECT {COLUMNS} FROM approvals WHERE task = ?1 AND workspace = ?2
         ORDER BY number DESC LIMIT ?3"
    )
}

pub(super) fn latest_sql() -> String {
    format!("SELECT {COLUMNS} FROM approvals WHERE workspace = ?1 ORDER BY number DESC LIMIT ?2")
}

const RULES: &str = "SELECT id, slot, tool, made_by, created_at FROM approval_rules
     WHERE workspace = ?1 ORDER BY slot, tool";

fn rule_from_row(row: &Row<'_>) -> Result<ApprovalRule, DatabaseError> {
    Ok(ApprovalRule {
        id: parsed(row, 0)?,
        agent: row.get(1)?,
        tool: row.get(2)?,
        made_by: row.get(3)?,
        created_at: time::rfc3339(row.get(4)?),
    })
}

fn generation(agent: &Lease) -> i64 {
    // The largest generation is what such a column holds.
    i64::try_from(agent.generation().number()).unwrap_or(i64::MAX)
}

impl ApprovalState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Gone => "gone",
            Self::Pending => "pending",
        }
    }
}

impl std::str::FromStr for ApprovalState {
    type Err = TaskError;
    fn from_str(word: &str) -> Result<Self, TaskError> {
        [Self::Allowed, Self::Denied, Self::Gone, Self::Pending]
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| TaskError::new(TaskErrorKind::Invalid("unknown state of an approval")))
    }
}
