//! The table of forms that were sent: by whom, under which number, and what became of each.
//!
//! Of each user it keeps [`KEPT`] forms of the last day. The last one that is forgotten stays as a mark: up
//! to there nobody knows what was sent, and all of it is refused.

use super::{Number, TIME};
use crate::{
    db::{DatabaseError, OptionalExtension as _, Transaction, params},
    error::{AppError, ErrorCode},
    people::UserId,
};

/// Notes that `user` has sent the form `number`; what becomes of it is not known yet.
///
/// # Errors
/// It was sent before, or is too old.
pub(super) fn take(
    transaction: &Transaction<'_>,
    user: &UserId,
    number: &Number,
    now: i64,
) -> Result<(), AppError> {
    let fate = fate(transaction, user, number)?;
    let sent = match fate.as_deref() {
        Some(DONE) => {
            "this form was sent before, and was done then: nothing was done again. A secret is shown once; if you did not keep it, regenerate the token"
        }
        Some(UNKNOWN) => {
            "this form was sent before, and it is not known whether it was done: nothing was done again. Look whether it was, and open the page again if not"
        }
        _ => return take_new(transaction, user, number, now),
    };
    Err(AppError::new(ErrorCode::Conflict, sent))
}

fn fate(
    transaction: &Transaction<'_>,
    user: &UserId,
    number: &Number,
) -> Result<Option<String>, DatabaseError> {
    let mut statement = transaction
        .prepare_cached("SELECT fate FROM sent_forms WHERE user = ?1 AND number = ?2")?;
    let values = params![user.as_str(), number.as_slice()];
    statement.query_row(values, |row| row.get(0)).optional()
}

fn take_new(
    transaction: &Transaction<'_>,
    user: &UserId,
    number: &Number,
    now: i64,
) -> Result<(), AppError> {
    forget(transaction, user, now)?;
    let is_forgotten = forgotten(transaction, user)?.is_some_and(|forgotten| *number <= forgotten);
    if is_forgotten || number[..TIME] < oldest(now)[..] {
        return Err(AppError::invalid(
            "this form is too old: open the page again and send it from there",
        ));
    }
    transaction.execute(
        "INSERT INTO sent_forms (user, number, fate) VALUES (?1, ?2, 'unknown')",
        params![user.as_str(), number.as_slice()],
    )?;
    // Those of people who send nothing any more; now and then, since it looks at everybody.
    if number[TIME] == 0 {
        forget_old(transaction, now)?;
    }
    Ok(())
}

/// Notes that what the form asks for was done.
pub(super) fn settle(
    transaction: &Transaction<'_>,
    user: &UserId,
    number: &Number,
) -> Result<(), DatabaseError> {
    transaction.execute(
        "UPDATE sent_forms SET fate = 'done' WHERE user = ?1 AND number = ?2 AND fate = 'unknown'",
        params![user.as_str(), number.as_slice()],
    )?;
    Ok(())
}

/// Notes that nothing was done: the form may come again.
pub(super) fn give_back(
    transaction: &Transaction<'_>,
    user: &UserId,
    number: &Number,
) -> Result<(), DatabaseError> {
    // Not a mark: what is forgotten stays so.
    transaction.execute(
        "DELETE FROM sent_forms WHERE user = ?1 AND number = ?2 AND fate = 'unknown'",
        params![user.as_str(), number.as_slice()],
    )?;
    Ok(())
}

/// Forgets what `user` has sent and is too old, and the oldest if there is too much.
pub(super) fn forget(
    transaction: &Transaction<'_>,
    user: &UserId,
    now: i64,
) -> Result<(), DatabaseError> {
    let old = last_old(transaction, user, now)?;
    let Some(last) = old.max(last_of_too_many(transaction, user)?) else {
        return Ok(());
    };
    transaction.execute(
        "UPDATE sent_forms SET fate = 'forgotten' WHERE user = ?1 AND number = ?2",
        params![user.as_str(), last.as_slice()],
    )?;
    transaction.execute(
        "DELETE FROM sent_forms WHERE user = ?1 AND number < ?2",
        params![user.as_str(), last.as_slice()],
    )?;
    Ok(())
}

/// Returns the last number of those that are too old.
fn last_old(
    transaction: &Transaction<'_>,
    user: &UserId,
    now: i64,
) -> Result<Option<Number>, DatabaseError> {
    let mut statement = transaction.prepare_cached(
        "SELECT number FROM sent_forms WHERE user = ?1 AND number < ?2 ORDER BY number DESC LIMIT 1",
    )?;
    let oldest = oldest(now);
    let values = params![user.as_str(), oldest.as_slice()];
    statement.query_row(values, |row| row.get(0)).optional()
}

/// Returns the last number of those that have to go so that there is room for another one.
fn last_of_too_many(
    transaction: &Transaction<'_>,
    user: &UserId,
) -> Result<Option<Number>, DatabaseError> {
    // From the latest on: what comes after as many as stay.
    let mut statement = transaction.prepare_cached(
        "SELECT number FROM sent_forms WHERE user = ?1 AND fate <> 'forgotten'
         ORDER BY number DESC LIMIT 1 OFFSET ?2",
    )?;
    let values = params![user.as_str(), KEPT - 1];
    statement.query_row(values, |row| row.get(0)).optional()
}

fn forgotten(
    transaction: &Transaction<'_>,
    user: &UserId,
) -> Result<Option<Number>, DatabaseError> {
    let mut statement = transaction.prepare_cached(
        "SELECT number FROM sent_forms WHERE user = ?1 AND fate = 'forgotten'
         ORDER BY number DESC LIMIT 1",
    )?;
    let found = statement.query_row([user.as_str()], |row| row.get(0));
    found.optional()
}

/// Forgets what anybody has sent and is too old.
pub(super) fn forget_old(transaction: &Transaction<'_>, now: i64) -> Result<(), DatabaseError> {
    let mut statement = transaction.prepare_cached(
        "SELECT DISTINCT user FROM sent_forms WHERE number < ?1 AND fate <> 'forgotten'",
    )?;
    let users = statement.query_map([oldest(now).as_slice()], |row| {
        Ok(UserId::new(row.get::<_, String>(0)?))
    })?;
    users
        .into_iter()
        .try_for_each(|user| forget(transaction, &user?, now))
}

/// Returns the beginning of numbers that are just not too old; all before it sort before it.
fn oldest(now: i64) -> [u8; TIME] {
    now.saturating_sub(LIFE).max(0).to_be_bytes()
}

const DONE: &str = "done";
/// It is being done, or failed halfway, or whoever sent it has hung up, or the server has ended.
const UNKNOWN: &str = "unknown";

/// How long a number is good, in milliseconds: a page may lie open overnight.
pub(super) const LIFE: i64 = 24 * 60 * 60 * 1000;

/// How many forms of a user are remembered.
pub(super) const KEPT: i64 = 1000;
