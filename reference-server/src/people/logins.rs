//! Logins: what a browser's cookie stands for. They end when unused, when old, and when somebody ends them.

use std::{net::IpAddr, time::Duration};

use secrecy::SecretString;

use super::{User, UserId, secret, users};
use crate::db::{DatabaseError, OptionalExtension as _, Transaction, ids, params};

/// A login ends when it was not used for this long.
pub(crate) const IDLE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// A login ends this long after it began, whatever it was used for.
pub(crate) const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How far the clock may be set back without ending logins and links.
pub(super) const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// How exactly it is known when a login was last used: a write for each page would be many.
const PRECISION: Duration = Duration::from_secs(60);

/// A login, without the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Login {
    /// Public: it ends the login and opens nothing.
    pub(crate) id: String,
    /// Milliseconds since 1970, as all times here.
    pub(crate) created_at: i64,
    pub(crate) last_seen_at: i64,
    pub(crate) address: Option<String>,
    /// The browser's `User-Agent`.
    pub(crate) agent: Option<String>,
}

/// Begins a login and returns what the cookie is to hold.
pub(crate) fn begin(
    connection: &Transaction<'_>,
    user: &UserId,
    address: Option<IpAddr>,
    agent: Option<&str>,
    now: i64,
) -> anyhow::Result<SecretString> {
    let (cookie, id) = (secret::generate()?, ids::random_id()?);
    let failed = DatabaseError::from;
    connection
        .execute(
            "DELETE FROM logins WHERE last_seen_at <= ?1 OR created_at < ?2",
            params![unused(now), begun(now).0],
        )
        .map_err(failed)?;
    connection
        .execute(
            "INSERT INTO logins (id, secret_hash, user, created_at, last_seen_at, address, agent)
             VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6)",
            params![
                id,
                secret::hash(&cookie),
                user.as_str(),
                now,
                address.map(|address| address.to_string()),
                agent.map(shorten),
            ],
        )
        .map_err(failed)?;
    Ok(cookie)
}

/// Finds the login that a cookie holds, and whose it is; none if it is over or its user was disabled.
pub(crate) fn find(
    connection: &Transaction<'_>,
    cookie: &SecretString,
    now: i64,
) -> Result<Option<(Login, User)>, DatabaseError> {
    let sql = format!(
        "SELECT logins.id AS login, logins.created_at AS began, logins.last_seen_at, logins.address,
                logins.agent, {}
         FROM logins JOIN users ON users.id = logins.user
         WHERE logins.secret_hash = ?1 AND logins.last_seen_at > ?2
           AND logins.created_at BETWEEN ?3 AND ?4 AND users.disabled_at IS NULL",
        users::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let (first, last) = begun(now);
    let values = params![secret::hash(cookie), unused(now), first, last];
    let found = statement.query_row(values, |row| {
        let login = Login {
            id: row.get("login")?,
            created_at: row.get("began")?,
            last_seen_at: row.get("last_seen_at")?,
            address: row.get("address")?,
            agent: row.get("agent")?,
        };
        Ok((login, users::from_row(row)?))
    });
    found.optional()
}

/// Returns the user of a login as they are now; none if the login is over or the user was disabled.
pub(crate) fn user_of(
    connection: &Transaction<'_>,
    user: &UserId,
    login: Option<&str>,
    now: i64,
) -> Result<Option<User>, DatabaseError> {
    let sql = format!(
        "SELECT {} FROM logins JOIN users ON users.id = logins.user
         WHERE logins.user = ?1 AND logins.id = ?2 AND logins.last_seen_at > ?3
           AND logins.created_at BETWEEN ?4 AND ?5 AND users.disabled_at IS NULL",
        users::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let (first, last) = begun(now);
    let values = params![user.as_str(), login, unused(now), first, last];
    statement.query_row(values, users::from_row).optional()
}

/// Returns whether it is time to note that a login was used.
pub(crate) fn is_due(login: &Login, now: i64) -> bool {
    now - login.last_seen_at > millis(PRECISION)
}

/// Notes that a login was used.
pub(crate) fn touch(connection: &Transaction<'_>, id: &str, now: i64) -> Result<(), DatabaseError> {
    connection.execute(
        "UPDATE logins SET last_seen_at = ?2 WHERE id = ?1",
        params![id, now],
    )?;
    Ok(())
}

/// Returns the logins of a user that are not over, the one that was used last first.
pub(crate) fn list(
    connection: &Transaction<'_>,
    user: &UserId,
    now: i64,
) -> Result<Vec<Login>, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, created_at, last_seen_at, address, agent FROM logins
         WHERE user = ?1 AND last_seen_at > ?2 AND created_at BETWEEN ?3 AND ?4
         ORDER BY last_seen_at DESC, id",
    )?;
    let (first, last) = begun(now);
    let values = params![user.as_str(), unused(now), first, last];
    let rows = statement.query_map(values, |row| {
        Ok(Login {
            id: row.get(0)?,
            created_at: row.get(1)?,
            last_seen_at: row.get(2)?,
            address: row.get(3)?,
            agent: row.get(4)?,
        })
    })?;
    rows.collect::<Result<_, _>>()
}

/// Ends one login of a user; returns whether there was one.
pub(crate) fn end(
    connection: &Transaction<'_>,
    user: &UserId,
    id: &str,
) -> Result<bool, DatabaseError> {
    let ended = connection.execute(
        "DELETE FROM logins WHERE user = ?1 AND id = ?2",
        params![user.as_str(), id],
    )?;
    Ok(ended > 0)
}

/// Ends all logins of a user but one, and returns how many there were.
pub(crate) fn end_others(
    connection: &Transaction<'_>,
    user: &UserId,
    kept: Option<&str>,
) -> Result<usize, DatabaseError> {
    connection.execute(
        "DELETE FROM logins WHERE user = ?1 AND id IS DISTINCT FROM ?2",
        params![user.as_str(), kept],
    )
}

/// Returns the time since which a login must have been used.
fn unused(now: i64) -> i64 {
    now - millis(IDLE)
}

/// Returns the first and the last time at which a login may have begun. One of the future was begun when the clock was
/// ahead, and would outlive its time by as much.
fn begun(now: i64) -> (i64, i64) {
    (now - millis(LONGEST) + 1, now + millis(CLOCK_SKEW))
}

fn shorten(agent: &str) -> String {
    agent
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect()
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
