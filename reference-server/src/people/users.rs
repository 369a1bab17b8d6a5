//! The table of users.

use super::{User, UserId};
use crate::{
    db::{DatabaseError, OptionalExtension as _, Row, Transaction, params},
    text,
};

/// What [`from_row`] reads.
pub(super) const COLUMNS: &str = "users.id, users.name, users.is_administrator, users.disabled_at, \
     users.password IS NOT NULL AS has_password, users.created_at";

pub(crate) fn find(
    connection: &Transaction<'_>,
    id: &UserId,
) -> Result<Option<User>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row([id.as_str()], from_row).optional()
}

/// Finds a user by name, in whatever case it is written.
pub(crate) fn find_by_name(
    connection: &Transaction<'_>,
    name: &str,
) -> Result<Option<User>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE lower(name) = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_row([name.to_ascii_lowercase()], from_row)
        .optional()
}

/// Returns whether `name` can be taken for the one of another user than `own`.
pub(crate) fn is_taken(
    connection: &Transaction<'_>,
    name: &str,
    own: Option<&UserId>,
) -> Result<bool, DatabaseError> {
    let mut statement = connection.prepare_cached("SELECT id, name FROM users")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for row in rows {
        let (id, other): (String, String) = row?;
        if own.map(UserId::as_str) != Some(&*id) && text::looks_like(name, &other) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns all users, oldest first.
pub(crate) fn list(connection: &Transaction<'_>) -> Result<Vec<User>, DatabaseError> {
    let sql = format!("SELECT {COLUMNS} FROM users ORDER BY created_at, id");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([], from_row)?;
    rows.collect::<Result<_, _>>()
}

/// Returns whether there is any user.
pub(crate) fn any(connection: &Transaction<'_>) -> Result<bool, DatabaseError> {
    let mut statement = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM users)")?;
    statement.query_row([], |row| row.get(0))
}

/// Returns how many administrators can log in.
pub(crate) fn administrators(connection: &Transaction<'_>) -> Result<i64, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT COUNT(*) FROM users WHERE is_administrator = 1 AND disabled_at IS NULL AND password IS NOT NULL",
    )?;
    statement.query_row([], |row| row.get(0))
}

pub(crate) fn insert(
    connection: &Transaction<'_>,
    id: &UserId,
    name: &str,
    is_administrator: bool,
    now: i64,
) -> Result<(), DatabaseError> {
    connection.execute(
        "INSERT INTO users (id, name, is_administrator, created_at) VALUES (?1, ?2, ?3, ?4)",
        params![id.as_str(), name, is_administrator, now],
    )?;
    Ok(())
}

/// Returns the hash of the password, if the user has chosen one.
pub(crate) fn password_hash(
    connection: &Transaction<'_>,
    id: &UserId,
) -> Result<Option<String>, DatabaseError> {
    let mut statement = connection.prepare_cached("SELECT password FROM users WHERE id = ?1")?;
    let hash = statement.query_row([id.as_str()], |row| row.get(0));
    Ok(hash.optional()?.flatten())
}

pub(crate) fn set_password_hash(
    connection: &Transaction<'_>,
    id: &UserId,
    hash: &str,
) -> Result<(), DatabaseError> {
    connection.execute(
        "UPDATE users SET password = ?2 WHERE id = ?1",
        params![id.as_str(), hash],
    )?;
    Ok(())
}

pub(crate) fn rename(
    connection: &Transaction<'_>,
    id: &UserId,
    name: &str,
) -> Result<(), DatabaseError> {
    connection.execute(
        "UPDATE users SET name = ?2 WHERE id = ?1",
        params![id.as_str(), name],
    )?;
    Ok(())
}

pub(crate) fn set_administrator(
    connection: &Transaction<'_>,
    id: &UserId,
    is_administrator: bool,
) -> Result<(), DatabaseError> {
    connection.execute(
        "UPDATE users SET is_administrator = ?2 WHERE id = ?1",
        params![id.as_str(), is_administrator],
    )?;
    Ok(())
}

/// Locks a user out, or lets them in again.
pub(crate) fn set_disabled(
    connection: &Transaction<'_>,
    id: &UserId,
    disabled_at: Option<i64>,
) -> Result<(), DatabaseError> {
    connection.execute(
        "UPDATE users SET disabled_at = ?2 WHERE id = ?1",
        params![id.as_str(), disabled_at],
    )?;
    Ok(())
}

pub(super) fn from_row(row: &Row<'_>) -> Result<User, DatabaseError> {
    Ok(User {
        id: UserId::new(row.get::<_, String>("id")?),
        name: row.get("name")?,
        is_administrator: row.get("is_administrator")?,
        is_disabled: row.get::<_, Option<i64>>("disabled_at")?.is_some(),
        has_password: row.get("has_password")?,
        created_at: row.get("created_at")?,
    })
}
