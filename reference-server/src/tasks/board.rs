//! The board: tasks by state, each at its place, and moving them there.
//!
//! A place is a number with wide gaps. What enters a state that somebody works off (not started, ongoing,
//! blocked) goes to its end, what is done to the top of what is done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::id::WorkspaceId;

use super::{
    Author, Status, TaskCard, TaskError, TaskErrorKind, TaskId, Tasks, hub, read, write::admit,
};
use crate::{
    db::{OptionalExtension as _, Transaction, named_params, params},
    live::Topic,
};

/// The most tasks of a column that are read at once.
pub(crate) const BOARD_PAGE: u32 = 50;

/// How far apart places are at first.
const GAP: i64 = 1 << 20;

/// A state and the tasks in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BoardColumn {
    pub(crate) status: Status,
    /// How many there are, more than `tasks` holds included.
    pub(crate) count: u64,
    /// In their order.
    pub(crate) tasks: Vec<TaskCard>,
    /// Where the next page of this column begins, if there is one.
    pub(crate) next_cursor: Option<TaskId>,
}

/// Where a task goes, among those of its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Right after this one.
    After(TaskId),
    /// Right before this one.
    Before(TaskId),
}

impl Tasks {
    /// Returns the first page of each state.
    pub(crate) async fn board(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<BoardColumn>, TaskError> {
        let workspace = *workspace;
        self.database
            .read(move |snapshot| {
                let statistics = read::count(snapshot, &workspace)?;
                let column = |status| {
                    let (tasks, next_cursor) = page(snapshot, &workspace, status, None)?;
                    let count = statistics.of(status);
                    Ok(BoardColumn {
                        status,
                        count,
                        tasks,
                        next_cursor,
                    })
                };
                Status::ALL.into_iter().map(column).collect()
            })
            .await
    }

    /// Returns the page of a state that follows `cursor`.
    pub(crate) async fn board_column(
        &self,
        workspace: &WorkspaceId,
        status: Status,
        cursor: Option<TaskId>,
    ) -> Result<BoardColumn, TaskError> {
        let workspace = *workspace;
        self.database
            .read(move |snapshot| {
                let (tasks, next_cursor) = page(snapshot, &workspace, status, cursor.as_ref())?;
                Ok(BoardColumn {
                    status,
                    count: read::count(snapshot, &workspace)?.of(status),
                    tasks,
                    next_cursor,
                })
            })
            .await
    }

    /// Moves a task to another place in its column; agents take the first one that is not started.
    ///
    /// # Errors
    /// There is no such task here, the other one is in another state, the workspace was archived, or the
    /// database failed.
    pub(crate) async fn move_to(
        &self,
        author: Author,
        task: &TaskId,
        place: Place,
    ) -> Result<(), TaskError> {
        let (workspace, task) = (*author.workspace(), task.clone());
        let topic = Topic::Task(task.to_string());
        self.write_and_announce(
            workspace,
            move |transaction| {
                admit(transaction, &author)?;
                put(transaction, &workspace, &task, &place)
            },
            move |()| [hub::Announcement::Topic(topic)],
        )
        .await
    }
}

/// Returns the place of a task that enters `status` now.
pub(super) fn entrance(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    status: Status,
) -> Result<i64, TaskError> {
    let (end, step) = match status.is_open() {
        true => ("max", GAP),
        false => ("min", -GAP),
    };
    let sql = format!("SELECT {end}(position) FROM tasks WHERE workspace = ?1 AND status = ?2");
    let last: Option<i64> = connection
        .prepare_cached(&sql)?
        .query_row([workspace.as_str(), status.as_str()], |row| row.get(0))?;
    Ok(last.unwrap_or(0).saturating_add(step))
}

fn page(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    status: Status,
    cursor: Option<&TaskId>,
) -> Result<(Vec<TaskCard>, Option<TaskId>), TaskError> {
    let after = match cursor {
        None => (i64::MIN, 0),
        Some(task) => {
            place_of(connection, workspace, task, status)?.ok_or_else(read::unknown_cursor)?
        }
    };
    let mut statement = connection.prepare_cached(&page_sql())?;
    let rows = statement.query_map(
        named_params! {
            ":workspace": workspace.as_str(),
            ":status": status.as_str(),
            ":position": after.0,
            ":number": after.1,
            ":limit": BOARD_PAGE + 1,
        },
        read::card_from_row,
    )?;
    let (tasks, more) = read::cut(rows.collect::<Result<_, _>>()?, BOARD_PAGE);
    let last = tasks.last().filter(|_| more);
    let next_cursor = last.map(|task: &TaskCard| task.id.clone());
    Ok((tasks, next_cursor))
}

pub(super) fn page_sql() -> String {
    format!(
        "SELECT {} FROM tasks
         WHERE workspace = :workspace AND status = :status
           AND (position, number) > (:position, :number)
         ORDER BY position, number LIMIT :limit",
        read::CARD_COLUMNS
    )
}

/// Returns the place of a task that is in `status`.
fn place_of(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
    status: Status,
) -> Result<Option<(i64, i64)>, TaskError> {
    let place = connection
        .prepare_cached(
            "SELECT position, number FROM tasks WHERE workspace = ?1 AND id = ?2 AND status = ?3",
        )?
        .query_row(
            [workspace.as_str(), task.as_str(), status.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    Ok(place)
}

fn put(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
    place: &Place,
) -> Result<(), TaskError> {
    let status = read::standing(connection, workspace, task)?.status;
    let (Place::After(other) | Place::Before(other)) = place;
    if other == task {
        return Ok(());
    }
    let position = match between(connection, workspace, task, status, place)? {
        Some(position) => position,
        None => {
            spread(connection, workspace, status)?;
            let position = between(connection, workspace, task, status, place)?;
            // There is room for a million between any two now.
            position.ok_or_else(|| TaskError::unavailable("no place on the board"))?
        }
    };
    connection
        .prepare_cached("UPDATE tasks SET position = ?3 WHERE workspace = ?1 AND id = ?2")?
        .execute(params![workspace.as_str(), task.as_str(), position])?;
    Ok(())
}

/// Returns a free number at `place`; `None` if there is none left.
fn between(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    task: &TaskId,
    status: Status,
    place: &Place,
) -> Result<Option<i64>, TaskError> {
    let (Place::After(other) | Place::Before(other)) = place;
    let Some((at, _)) = place_of(connection, workspace, other, status)? else {
        // Is it another state, or no task of this workspace at all?
        read::standing(connection, workspace, other)?;
        return Err(TaskError::new(TaskErrorKind::Invalid(
            "the two tasks are in different states: set the state first",
        )));
    };
    let (relation, end, step) = match place {
        Place::After(_) => (">", "min", GAP),
        Place::Before(_) => ("<", "max", -GAP),
    };
    let sql = format!(
        "SELECT {end}(position) FROM tasks
         WHERE workspace = ?1 AND status = ?2 AND position {relation} ?3 AND id <> ?4"
    );
    let next: Option<i64> = connection.prepare_cached(&sql)?.query_row(
        params![workspace.as_str(), status.as_str(), at, task.as_str()],
        |row| row.get(0),
    )?;
    let Some(next) = next else {
        return Ok(at.checked_add(step));
    };
    let middle = at + (next - at) / 2;
    Ok((middle != at && middle != next).then_some(middle))
}

/// Gives the tasks of a state their gaps back, in their order.
fn spread(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    status: Status,
) -> Result<(), TaskError> {
    connection
        .prepare_cached(
            "UPDATE tasks SET position = ordered.place * ?3
             FROM (SELECT number, row_number() OVER (ORDER BY position, number) AS place
                   FROM tasks WHERE workspace = ?1 AND status = ?2) AS ordered
             WHERE tasks.number = ordered.number",
        )?
        .execute(params![workspace.as_str(), status.as_str(), GAP])?;
    Ok(())
}
