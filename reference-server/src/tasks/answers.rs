//! How long agents wait for people: answers are counted for thirty days, to be shown as a small chart.
//!
//! An answer is the step of a person after which a task no longer waits, or a permission that a person
//! gives or refuses. What agents and rules settle by themselves is none, and what nobody answered
//! either: it still stands on "Needs you".
//!
//! Kept are counts by day and bucket, so that neither rows nor the work of a page grow with the answers.
//! Four buckets double the time: what is read off them is at most a quarter too long, and never too short.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::id::WorkspaceId;

use super::{ApprovalId, TaskError, Tasks};
use crate::{
    db::{Transaction, named_params, params},
    time,
};

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
    /// Half of them were there within this time; at most a quarter more than it was.
    pub(crate) median_ms: u64,
    pub(crate) slowest_ms: u64,
}

/// The answers of a day that took about as long.
#[derive(Clone, Copy, Debug)]
struct Count {
    day: i64,
    bucket: u32,
    answers: u64,
    slowest: u64,
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
                let counts = counts(snapshot, &workspace, now)?;
                Ok(AnswerTimes::of(&counts, now))
            })
            .await
    }
}

/// Counts that a task which waited since `since` has its answer.
pub(super) fn note(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    since: i64,
    now: i64,
) -> Result<(), TaskError> {
    // Nothing, where a clock was set back.
    let waited = u64::try_from(now.saturating_sub(since)).unwrap_or(0);
    connection
        .prepare_cached(
            "INSERT INTO answer_days (workspace, day, bucket, answers, slowest)
             VALUES (:workspace, :day, :bucket, 1, :waited)
             ON CONFLICT (workspace, day, bucket) DO UPDATE SET answers = answer_days.answers + 1,
                 slowest = CASE WHEN answer_days.slowest > excluded.slowest
                                THEN answer_days.slowest ELSE excluded.slowest END",
        )?
        .execute(named_params! {
            ":workspace": workspace.as_str(),
            ":day": day_of(now),
            ":bucket": bucket_of(waited),
            ":waited": i64::try_from(waited).unwrap_or(i64::MAX),
        })?;
    connection
        .prepare_cached("DELETE FROM answer_days WHERE workspace = ?1 AND day < ?2")?
        .execute(params![workspace.as_str(), first_day(now)])?;
    Ok(())
}

/// Counts that a person answered a request for a permission.
pub(super) fn note_approval(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    approval: &ApprovalId,
    now: i64,
) -> Result<(), TaskError> {
    let asked_at = connection
        .prepare_cached("SELECT created_at FROM approvals WHERE workspace = ?1 AND id = ?2")?
        .query_row([workspace.as_str(), approval.as_str()], |row| row.get(0))?;
    note(connection, workspace, asked_at, now)
}

/// Returns what was counted on the days that are shown, in the order of how long it took.
fn counts(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    now: i64,
) -> Result<Vec<Count>, TaskError> {
    let mut statement = connection.prepare_cached(
        "SELECT day, bucket, answers, slowest FROM answer_days
         WHERE workspace = ?1 AND day BETWEEN ?2 AND ?3 ORDER BY bucket",
    )?;
    let days = params![workspace.as_str(), first_day(now), day_of(now)];
    let rows = statement.query_map(days, |row| {
        Ok(Count {
            day: row.get(0)?,
            bucket: row.get(1)?,
            answers: row.get::<_, i64>(2)?.unsigned_abs(),
            slowest: row.get::<_, i64>(3)?.unsigned_abs(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl AnswerTimes {
    fn of(counts: &[Count], now: i64) -> Self {
        let days = first_day(now)..=day_of(now);
        let day = |day| AnswerDay {
            at: time::rfc3339(day * MILLIS_PER_DAY),
            waits: Waits::of(|| counts.iter().filter(move |count| count.day == day)),
        };
        Self {
            days: days.map(day).collect(),
            all: Waits::of(|| counts.iter()),
        }
    }
}

impl Waits {
    /// Sums up what stands in the order of how long it took.
    fn of<'a, I: Iterator<Item = &'a Count>>(counts: impl Fn() -> I) -> Self {
        let answers = counts().map(|count| count.answers).sum();
        let slowest_ms = counts().map(|count| count.slowest).max().unwrap_or(0);
        let mut seen = 0;
        let middle = counts().find(|count| {
            seen += count.answers;
            seen * 2 >= answers
        });
        Self {
            answers,
            median_ms: middle.map_or(0, |count| longest_in(count.bucket).min(slowest_ms)),
            slowest_ms,
        }
    }
}

/// Returns the bucket of a time in milliseconds: below 4 each has its own, from there on four double it.
fn bucket_of(waited: u64) -> u32 {
    match waited.checked_ilog2() {
        Some(doublings @ 2..) => {
            let quarter = (waited >> (doublings - 2)) & 3;
            (doublings - 1) * 4 + quarter as u32
        }
        _ => waited as u32,
    }
}

/// Returns the longest time of a bucket.
fn longest_in(bucket: u32) -> u64 {
    match bucket {
        0..4 => bucket.into(),
        _ => {
            let (doublings, quarter) = (bucket / 4 - 1, u64::from(bucket % 4));
            // What no clock has counted yet; written by nobody, but read from a file.
            (5 + quarter)
                .checked_shl(doublings)
                .unwrap_or(0)
                .wrapping_sub(1)
        }
    }
}

fn day_of(now: i64) -> i64 {
    now.div_euclid(MILLIS_PER_DAY)
}

fn first_day(now: i64) -> i64 {
    day_of(now) - DAYS + 1
}

const DAYS: i64 = 30;
const MILLIS_PER_DAY: i64 = 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_answers_are_within_the_median_and_days_without_any_are_there() {
        let today = 20_000;
        let count = |day, waited, answers| Count {
            day,
            bucket: bucket_of(waited),
            answers,
            slowest: waited,
        };
        let counts = [
            count(today, 1, 1),
            count(today, 5, 1),
            count(today, 7, 1),
            count(today - 1, 9_000, 1),
        ];
        let times = AnswerTimes::of(&counts, today * MILLIS_PER_DAY + 1);
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

    #[test]
    fn what_is_read_off_a_bucket_is_at_most_a_quarter_too_long_and_never_too_short() {
        let powers = (0..63).map(|power| 1_u64 << power);
        let times = powers.flat_map(|power| [power - 1, power, power + power / 3]);
        for waited in times.chain(0..5_000).chain([u64::MAX]) {
            let bucket = bucket_of(waited);
            let longest = longest_in(bucket);
            assert!(
                waited <= longest && longest - waited <= waited / 4,
                "{waited}: {longest}"
            );
            assert_eq!(bucket_of(longest), bucket, "{waited}");
        }
        for bucket in [252, 260, u32::MAX] {
            let _ = longest_in(bucket);
        }
    }
}
