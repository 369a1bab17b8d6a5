//! How long agents wait for people: every answer is kept for thirty days, to be shown as a small chart.
//!
//! An answer is the step of a person after which a task no longer waits, or a permission that a person
//! gives or refuses. What agents and rules settle by themselves is none, and what nobody answered
//! either: it still stands on "Needs you".

use rusqlite::{Connection, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::id::WorkspaceId;

use super::{ApprovalId, TaskError, Tasks};
use crate::time;

/// How long answers took, for the days that are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AnswerTimes {
    /// The last thirty days, oldest first, today last; days begin at midnight UTC.
    pub(crate) days: Vec<AnswerDay>,
    /// All of them together.
    pub(crate) all: Waits,
}

/// How long the answers of a day took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AnswerDay {
    /// When the day began, in RFC 3339.
    pub(crate) at: String,
    #[serde(flatten)]
    pub(crate) waits: Waits,
}

/// How long some answers took, in milliseconds; 0 if there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Waits {
    pub(crate) answers: u64,
    /// Half of them were there within this time.
    pub(crate) median_ms: u64,
    pub(crate) slowest_ms: u64,
}

impl Tasks {
    /// Returns how long the answers of the last days took.
    pub(crate) async fn answer_times(
        &self,
        workspace: &WorkspaceId,
    ) -> Result<AnswerTimes, TaskError> {
        let (workspace, now) = (*workspace, time::now());
        self.database
            .read(move |snapshot| {
                let kept = kept(snapshot, &workspace, now)?;
                Ok(AnswerTimes::of(&kept, now))
            })
            .await
    }
}

/// Keeps that a task which waited since `since` has its answer.
pub(super) fn note(
    connection: &Connection,
    workspace: &WorkspaceId,
    since: i64,
    now: i64,
) -> Result<(), TaskError> {
    connection
        .prepare_cached("INSERT INTO answers (workspace, at, waited) VALUES (?1, ?2, ?3)")?
        .execute(params![workspace.as_str(), now, (now - since).max(0)])?;
    forget_old(connection, workspace, now)
}

/// Keeps that a person answered a request for a permission.
pub(super) fn note_approval(
    connection: &Connection,
    workspace: &WorkspaceId,
    approval: &ApprovalId,
    now: i64,
) -> Result<(), TaskError> {
    connection
        .prepare_cached(
            "INSERT INTO answers (workspace, at, waited)
             SELECT workspace, ?3, max(?3 - created_at, 0) FROM approvals WHERE workspace = ?1 AND id = ?2",
        )?
        .execute(params![workspace.as_str(), approval.as_str(), now])?;
    forget_old(connection, workspace, now)
}

fn forget_old(connection: &Connection, workspace: &WorkspaceId, now: i64) -> Result<(), TaskError> {
    connection
        .prepare_cached("DELETE FROM answers WHERE workspace = ?1 AND at < ?2")?
        .execute(params![workspace.as_str(), first_day(now) * MILLIS_PER_DAY])?;
    Ok(())
}

/// Returns the answers of the days that are shown: the day of each, and how long it took.
fn kept(
    connection: &Connection,
    workspace: &WorkspaceId,
    now: i64,
) -> Result<Vec<(i64, u64)>, TaskError> {
    let mut statement = connection.prepare_cached(
        "SELECT at, waited FROM answers WHERE workspace = ?1 AND at >= ?2 ORDER BY at",
    )?;
    let first = first_day(now) * MILLIS_PER_DAY;
    let rows = statement.query_map(params![workspace.as_str(), first], |row| {
        let (at, waited): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok((at.div_euclid(MILLIS_PER_DAY), waited.unsigned_abs()))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl AnswerTimes {
    fn of(kept: &[(i64, u64)], now: i64) -> Self {
        let days = first_day(now)..=now.div_euclid(MILLIS_PER_DAY);
        let day = |day| AnswerDay {
            at: time::rfc3339(day * MILLIS_PER_DAY),
            waits: Waits::of(kept.iter().filter(|(of, _)| *of == day)),
        };
        Self {
            days: days.map(day).collect(),
            all: Waits::of(kept.iter()),
        }
    }
}

impl Waits {
    fn of<'a>(kept: impl Iterator<Item = &'a (i64, u64)>) -> Self {
        let mut waited: Vec<u64> = kept.map(|(_, waited)| *waited).collect();
        waited.sort_unstable();
        let Some(slowest) = waited.last() else {
            return Self::default();
        };
        Self {
            answers: waited.len() as u64,
            median_ms: waited[(waited.len() - 1) / 2],
            slowest_ms: *slowest,
        }
    }
}

fn first_day(now: i64) -> i64 {
    now.div_euclid(MILLIS_PER_DAY) - DAYS + 1
}

const DAYS: i64 = 30;
const MILLIS_PER_DAY: i64 = 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_answers_are_within_the_median_and_days_without_any_are_there() {
        let today = 20_000;
        let kept = [(today - 1, 9_000), (today, 5), (today, 1), (today, 7)];
        let times = AnswerTimes::of(&kept, today * MILLIS_PER_DAY + 1);
        assert_eq!(times.days.len(), 30);
        assert_eq!(times.days[27].waits, Waits::default());
        assert_eq!(times.days[28].waits.median_ms, 9_000);
        let last = Waits {
            answers: 3,
            median_ms: 5,
            slowest_ms: 7,
        };
        assert_eq!(times.days[29].waits, last);
        assert_eq!(times.days[29].at, "2024-10-04T00:00:00Z");
        // Of an even number, the lower of the two in the middle: half of them *were* there by then.
        let all = Waits {
            answers: 4,
            median_ms: 5,
            slowest_ms: 9_000,
        };
        assert_eq!(times.all, all);
    }
}
