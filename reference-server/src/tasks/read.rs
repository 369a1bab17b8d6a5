//! Looking at tasks: one, a page, a conversation, the numbers.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};
use tower_workspace_token::id::WorkspaceId;

use super::{
    Message, MessageId, MessagePage, PageRequest, Statistics, Status, Task, TaskError,
    TaskErrorKind, TaskFilter, TaskId, TaskPage, Tasks, WorkspaceInfo,
};
use crate::{time, workspaces};

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

/// The columns that [`task_from_row`] reads.
pub(super) const TASK_COLUMNS: &str =
    "id, title, body, assignee, status, author, created_at, updated_at";

pub(super) fn task_from_row(row: &Row<'_>) -> rusqlite::Result<Task> {
    Ok(Task {
        id: parsed(row, 0)?,
        title: row.get(1)?,
        body: row.get(2)?,
        assignee: parsed(row, 3)?,
        status: parsed(row, 4)?,
        author: parsed(row, 5)?,
        created_at: time::rfc3339(row.get(6)?),
        updated_at: time::rfc3339(row.get(7)?),
    })
}

/// Reads a column that only this program writes; anything else in it is damage.
fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err = TaskError>,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error: TaskError| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
}

pub(super) fn find(
    connection: &Connection,
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

fn page(
    connection: &Connection,
    workspace: &WorkspaceId,
    filter: &TaskFilter,
) -> Result<TaskPage, TaskError> {
    let before = match &filter.page.cursor {
        None => i64::MAX,
        Some(task) => task_number(connection, workspace, task)?,
    };
    let sql = format!(
        "SELECT {TASK_COLUMNS} FROM tasks
         WHERE workspace = :workspace AND number < :before
           AND (:status IS NULL OR status = :status)
         ORDER BY number DESC LIMIT :limit"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(
        named_params! {
            ":workspace": workspace.as_str(),
            ":before": before,
            ":status": filter.status.map(Status::as_str),
            ":limit": filter.page.limit + 1,
        },
        task_from_row,
    )?;
    let (tasks, more) = cut(rows.collect::<Result<_, _>>()?, filter.page.limit);
    let last = tasks.last().filter(|_| more);
    let next_cursor = last.map(|task: &Task| task.id.clone());
    Ok(TaskPage { tasks, next_cursor })
}

fn messages(
    connection: &Connection,
    workspace: &WorkspaceId,
    task: &TaskId,
    page: &PageRequest<MessageId>,
) -> Result<MessagePage, TaskError> {
    let after = match &page.cursor {
        None => 0,
        Some(message) => message_number(connection, workspace, task, message)?,
    };
    let mut statement = connection.prepare_cached(
        "SELECT id, author, text, created_at FROM messages
         WHERE workspace = :workspace AND task = :task AND number > :after
         ORDER BY number LIMIT :limit",
    )?;
    let rows = statement.query_map(
        named_params! {
            ":workspace": workspace.as_str(),
            ":task": task.as_str(),
            ":after": after,
            ":limit": page.limit + 1,
        },
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

fn message_from_row(row: &Row<'_>, task: &TaskId) -> rusqlite::Result<Message> {
    Ok(Message {
        id: parsed(row, 0)?,
        task: task.clone(),
        author: parsed(row, 1)?,
        text: row.get(2)?,
        created_at: time::rfc3339(row.get(3)?),
    })
}

/// Cuts the item off that was read only to know whether there is a next page.
fn cut<T>(mut items: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let limit = limit as usize;
    let more = items.len() > limit;
    items.truncate(limit);
    (items, more)
}

fn task_number(
    connection: &Connection,
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
    connection: &Connection,
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

fn unknown_cursor() -> TaskError {
    TaskError::new(TaskErrorKind::Invalid(
        "the cursor is unknown here: use the one that the page before gave",
    ))
}

fn count(connection: &Connection, workspace: &WorkspaceId) -> Result<Statistics, TaskError> {
    let mut statement = connection.prepare_cached(
        "SELECT status, count(*) FROM tasks WHERE workspace = ?1 GROUP BY status",
    )?;
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
