//! Looking at tasks: one, a page, a conversation, the numbers.

use tower_workspace_token::id::WorkspaceId;

use super::{
    Approval, Attachment, MAX_PAGE, Message, MessageId, MessagePage, PageRequest, Statistics,
    Status, Task, TaskCard, TaskError, TaskErrorKind, TaskFilter, TaskId, TaskPage, Tasks,
    TimelineEvent, WorkspaceInfo, approvals, attachments, needs::Standing, timeline,
};
use crate::{
    db::{DatabaseError, OptionalExtension as _, Row, Transaction, params},
    time, workspaces,
};

/// What the page of a task shows.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) task: Task,
    /// The newest before the cursor; `next_cursor` leads to older ones.
    pub(crate) messages: MessagePage,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) approvals: Vec<Approval>,
    pub(crate) timeline: Vec<TimelineEvent>,
}

impl Tasks {
    /// Returns what the workspace shows of itself.
    ///
    /// # Errors
    /// There is no such workspace, or the database failed.
    pub async fn workspace(&self, workspace: &WorkspaceId) -> Result<WorkspaceInfo, TaskError> {
        let workspace = *workspace;
        self.database
            .read(move |snapshot| {
                workspaces::find(snapshot, &workspace)?
                    .ok_or_else(|| TaskError::new(TaskErrorKind::NoWorkspace))
            })
            .await
    }

    /// Counts the tasks of the workspace by state.
    ///
    /// # Errors
    /// The database failed.
    pub async fn statistics(&self, workspace: &WorkspaceId) -> Result<Statistics, TaskError> {
        let workspace = *workspace;
        self.database
            .read(move |snapshot| count(snapshot, &workspace))
            .await
    }

    /// Returns a task of the workspace.
    ///
    /// # Errors
    /// There is no such task in this workspace, or the database failed.
    pub async fn get(&self, workspace: &WorkspaceId, task: &TaskId) -> Result<Task, TaskError> {
        let (workspace, task) = (*workspace, task.clone());
        self.database
            .read(move |snapshot| find(snapshot, &workspace, &task))
            .await
    }

    /// Returns a page of the tasks of the workspace, newest first.
    ///
    /// # Errors
    /// The cursor is no task of this workspace, the limit is out of bounds, or the database failed.
    pub async fn list(
        &self,
        workspace: &WorkspaceId,
        filter: TaskFilter,
    ) -> Result<TaskPage, TaskError> {
        filter.page.check()?;
        let workspace = *workspace;
        self.database
            .read(move |snapshot| page(snapshot, &workspace, &filter))
            .await
    }

    /// Returns all that the page of a task shows: the newest messages before the cursor, oldest first,
    /// and the latest of the rest.
    ///
    /// # Errors
    /// As of [`conversation`](Self::conversation).
    pub(crate) async fn thread(
        &self,
        workspace: &WorkspaceId,
        task: &TaskId,
        page: PageRequest<MessageId>,
    ) -> Result<Thread, TaskError> {
        page.check()?;
        let (workspace, task) = (*workspace, task.clone());
        self.database
            .read(move |snapshot| {
                Ok(Thread {
                    task: find(snapshot, &workspace, &task)?,
                    messages: messages_before(snapshot, &workspace, &task, &page)?,
                    attachments: attachments::of_task(snapshot, &workspace, &task)?,
                    approvals: approvals::of_task(snapshot, &workspace, &task, MAX_PAGE)?,
                    timeline: timeline::latest(snapshot, &workspace, &task, MAX_PAGE)?,
                })
            })
            .await
    }

    /// Returns a page of a task's conversation, oldest first.
    ///
    /// # Errors
    /// There is no such task in this workspace, the cursor is no message of it, the limit is out of
    /// bounds, or the database failed.
    pub async fn conversation(
        &self,
        workspace: &WorkspaceId,
        task: &TaskId,
        page: PageRequest<MessageId>,
    ) -> Result<MessagePage, TaskError> {
        page.check()?;
        let (workspace, task) = (*workspace, task.clone());
        self.database
            .read(move |snapshot| {
                find(snapshot, &workspace, &task)?;
                messages(snapshot, &workspace, &task, &page)
            })
            .await
    }
}

/// The columns that [`card_from_row`] reads.
pub(super) const CARD_COLUMNS: &str = "id, title, status, assignee, author, author_name, author_user, \
     taken_name, asks_since, created_at, updated_at";

/// The columns that [`task_from_row`] reads.
pub(super) const TASK_COLUMNS: &str = "id, title, status, assignee, author, author_name, author_user, \
     taken_name, asks_since, created_at, updated_at, body";

pub(super) fn card_from_row(row: &Row<'_>) -> Result<TaskCard, DatabaseError> {
    Ok(TaskCard {
        id: parsed(row, 0)?,
        title: row.get(1)?,
        status: parsed(row, 2)?,
        assignee: parsed(row, 3)?,
        author: parsed(row, 4)?,
        author_name: row.get(5)?,
        author_user: row.get(6)?,
        worker: row.get(7)?,
        asks_since: row.get::<_, Option<i64>>(8)?.map(time::rfc3339),
        created_at: time::rfc3339(row.get(9)?),
        updated_at: time::rfc3339(row.get(10)?),
    })
}

pub(super) fn task_from_row(row: &Row<'_>) -> Result<Task, DatabaseError> {
    Ok(Task {
        card: card_from_row(row)?,
        body: row.get(11)?,
    })
}

/// Reads a column that only this program writes; anything else in it is damage.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> Result<T, DatabaseError>
where
    T: std::str::FromStr<Err = TaskError>,
{
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error: TaskError| DatabaseError::unreadable(error))
}

pub(super) fn find(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
) -> Result<Task, TaskError> {
    let sql = format!("SELECT {TASK_COLUMNS} FROM tasks WHERE workspace = ?1 AND id = ?2");
    connection
        .prepare_cached(&sql)?
        .query_row([workspace.as_str(), task.as_str()], task_from_row)
        .optional()?
        .ok_or_else(|| TaskError::new(TaskErrorKind::NoTask))
}

/// Returns how a task stands; that there is such a task in the workspace is known then.
pub(super) fn standing(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
) -> Result<Standing, TaskError> {
    connection
        .prepare_cached(
            "SELECT status, assignee, asks_since FROM tasks WHERE workspace = ?1 AND id = ?2",
        )?
        .query_row([workspace.as_str(), task.as_str()], |row| {
            Ok(Standing {
                status: parsed(row, 0)?,
                assignee: parsed(row, 1)?,
                asks_since: row.get(2)?,
            })
        })
        .optional()?
        .ok_or_else(|| TaskError::new(TaskErrorKind::NoTask))
}

fn page(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    filter: &TaskFilter,
) -> Result<TaskPage, TaskError> {
    let before = match &filter.page.cursor {
        None => i64::MAX,
        Some(task) => task_number(connection, workspace, task)?,
    };
    let (status, limit) = (filter.status, filter.page.limit);
    let mut statement = connection.prepare_cached(&list_sql(status))?;
    let (workspace, more) = (workspace.as_str(), limit + 1);
    let rows = match status {
        None => statement.query_map(params![workspace, before, more], card_from_row),
        Some(status) => statement.query_map(
            params![workspace, before, more, status.as_str()],
            card_from_row,
        ),
    }?;
    let (tasks, more) = cut(rows.collect::<Result<_, _>>()?, limit);
    let last = tasks.last().filter(|_| more);
    let next_cursor = last.map(|task: &TaskCard| task.id.clone());
    Ok(TaskPage { tasks, next_cursor })
}

/// Two statements, since one with `? IS NULL OR` would read all tasks to find those of a state.
pub(super) fn list_sql(status: Option<Status>) -> String {
    let of_status = match status {
        None => "",
        Some(_) => "AND status = ?4",
    };
    format!(
        "SELECT {CARD_COLUMNS} FROM tasks WHERE workspace = ?1 AND number < ?2 {of_status}
         ORDER BY number DESC LIMIT ?3"
    )
}

fn messages(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
    page: &PageRequest<MessageId>,
) -> Result<MessagePage, TaskError> {
    let after = match &page.cursor {
        None => 0,
        Some(message) => message_number(connection, workspace, task, message)?,
    };
    let mut statement = connection.prepare_cached(MESSAGES_AFTER)?;
    let rows = statement.query_map(
        params![task.as_str(), workspace.as_str(), after, page.limit + 1],
        |row| message_from_row(row, task),
    )?;
    let (messages, more) = cut(rows.collect::<Result<_, _>>()?, page.limit);
    let last = messages.last().filter(|_| more);
    let next_cursor = last.map(|message: &Message| message.id.clone());
    Ok(MessagePage {
        messages,
        next_cursor,
    })
}

/// Returns the latest messages before the cursor, oldest first; the cursor of the page leads further back.
fn messages_before(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
    page: &PageRequest<MessageId>,
) -> Result<MessagePage, TaskError> {
    let before = match &page.cursor {
        None => i64::MAX,
        Some(message) => message_number(connection, workspace, task, message)?,
    };
    let mut statement = connection.prepare_cached(MESSAGES_BEFORE)?;
    let rows = statement.query_map(
        params![task.as_str(), workspace.as_str(), before, page.limit + 1],
        |row| message_from_row(row, task),
    )?;
    let (mut messages, more) = cut(rows.collect::<Result<_, _>>()?, page.limit);
    messages.reverse();
    let first = messages.first().filter(|_| more);
    let next_cursor = first.map(|message: &Message| message.id.clone());
    Ok(MessagePage {
        messages,
        next_cursor,
    })
}

pub(super) fn last_message(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
) -> Result<Option<Message>, TaskError> {
    let latest = PageRequest {
        cursor: None,
        limit: 1,
    };
    let page = messages_before(connection, workspace, task, &latest)?;
    Ok(page.messages.into_iter().next())
}

pub(super) const MESSAGES_AFTER: &str =
    "SELECT id, author, author_name, author_user, text, created_at FROM messages
     WHERE task = ?1 AND workspace = ?2 AND number > ?3 ORDER BY number LIMIT ?4";

pub(super) const MESSAGES_BEFORE: &str =
    "SELECT id, author, author_name, author_user, text, created_at FROM messages
     WHERE task = ?1 AND workspace = ?2 AND number < ?3 ORDER BY number DESC LIMIT ?4";

fn message_from_row(row: &Row<'_>, task: &TaskId) -> Result<Message, DatabaseError> {
    Ok(Message {
        id: parsed(row, 0)?,
        task: task.clone(),
        author: parsed(row, 1)?,
        author_name: row.get(2)?,
        author_user: row.get(3)?,
        text: row.get(4)?,
        created_at: time::rfc3339(row.get(5)?),
    })
}

/// Cuts the item off that was read only to know whether there is a next page.
pub(super) fn cut<T>(mut items: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let limit = limit as usize;
    let more = items.len() > limit;
    items.truncate(limit);
    (items, more)
}

fn task_number(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
) -> Result<i64, TaskError> {
    let number = connection
        .prepare_cached("SELECT number FROM tasks WHERE workspace = ?1 AND id = ?2")?
        .query_row([workspace.as_str(), task.as_str()], |row| row.get(0))
        .optional()?;
    number.ok_or_else(unknown_cursor)
}

fn message_number(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
    message: &MessageId,
) -> Result<i64, TaskError> {
    let number = connection
        .prepare_cached(
            "SELECT number FROM messages WHERE workspace = ?1 AND task = ?2 AND id = ?3",
        )?
        .query_row(
            [workspace.as_str(), task.as_str(), message.as_str()],
            |row| row.get(0),
        )
        .optional()?;
    number.ok_or_else(unknown_cursor)
}

pub(super) fn unknown_cursor() -> TaskError {
    TaskError::new(TaskErrorKind::Invalid(
        "the cursor is unknown here: use the one that the page before gave",
    ))
}

pub(super) const STATISTICS: &str =
    "SELECT status, count(*) FROM tasks WHERE workspace = ?1 GROUP BY status";

pub(super) fn count(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
) -> Result<Statistics, TaskError> {
    let mut statement = connection.prepare_cached(STATISTICS)?;
    let rows = statement.query_map([workspace.as_str()], |row| {
        Ok((parsed::<Status>(row, 0)?, u64::from(row.get::<_, u32>(1)?)))
    })?;
    let mut statistics = Statistics::default();
    for row in rows {
        let (status, count) = row?;
        *statistics.of_mut(status) = count;
    }
    Ok(statistics)
}

impl Statistics {
    /// Returns the number of one state.
    pub fn of(&self, status: Status) -> u64 {
        match status {
            Status::NotStarted => self.not_started,
            Status::Ongoing => self.ongoing,
            Status::Completed => self.completed,
            Status::Blocked => self.blocked,
            Status::Rejected => self.rejected,
        }
    }

    fn of_mut(&mut self, status: Status) -> &mut u64 {
        match status {
            Status::NotStarted => &mut self.not_started,
            Status::Ongoing => &mut self.ongoing,
            Status::Completed => &mut self.completed,
            Status::Blocked => &mut self.blocked,
            Status::Rejected => &mut self.rejected,
        }
    }
}
