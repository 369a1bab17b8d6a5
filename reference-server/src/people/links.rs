//! One-time links: to make the first account, and to choose a password.
//!
//! The secret stands behind the `#` of the URL, which browsers send to nobody: the page hands it over
//! in a form.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use secrecy::SecretString;

use super::{
    UserId,
    logins::{CLOCK_SKEW, millis},
    secret,
};
use crate::db::DatabaseError;

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To choose a password.
    Password,
    /// To make the first account.
    Setup,
}

/// How long the setup link holds.
pub(crate) const SETUP_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long a link holds that lets a person choose a password.
pub(crate) const PASSWORD_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes the setup link's secret; the one before no longer holds.
pub(crate) fn make_setup(connection: &Connection, now: i64) -> anyhow::Result<SecretString> {
    delete(connection, Purpose::Setup, None)?;
    make(connection, Purpose::Setup, None, now)
}

/// Makes the secret of a link for `user`; the one before no longer holds.
pub(crate) fn make_password(
    connection: &Connection,
    user: &UserId,
    now: i64,
) -> anyhow::Result<SecretString> {
    delete(connection, Purpose::Password, Some(user))?;
    make(connection, Purpose::Password, Some(user), now)
}

/// Returns whether the link with this secret still holds.
pub(crate) fn holds(
    connection: &Connection,
    purpose: Purpose,
    secret: &SecretString,
    now: i64,
) -> Result<bool, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM links WHERE secret_hash = ?1 AND purpose = ?2 AND expires_at > ?3 AND expires_at <= ?4",
    )?;
    Ok(statement.exists(params![
        secret::hash(secret),
        purpose.as_str(),
        now,
        purpose.latest(now)
    ])?)
}

/// Uses the setup link up; returns whether it held.
pub(crate) fn take_setup(
    connection: &Connection,
    secret: &SecretString,
    now: i64,
) -> Result<bool, DatabaseError> {
    let taken = connection.execute(
        "DELETE FROM links WHERE secret_hash = ?1 AND purpose = 'setup' AND expires_at > ?2 AND expires_at <= ?3",
        params![secret::hash(secret), now, Purpose::Setup.latest(now)],
    )?;
    Ok(taken > 0)
}

/// Uses a person's link up, and returns whose it was if it held.
pub(crate) fn take_password(
    connection: &Connection,
    secret: &SecretString,
    now: i64,
) -> Result<Option<UserId>, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM links WHERE secret_hash = ?1 AND purpose = 'password'
           AND expires_at > ?2 AND expires_at <= ?3
         RETURNING user",
    )?;
    let values = params![secret::hash(secret), now, Purpose::Password.latest(now)];
    let user = statement.query_row(values, |row| row.get::<_, String>(0));
    Ok(user.optional()?.map(UserId::new))
}

/// Returns whose link it is, if it holds.
pub(crate) fn owner(
    connection: &Connection,
    secret: &SecretString,
    now: i64,
) -> Result<Option<UserId>, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT user FROM links WHERE secret_hash = ?1 AND purpose = 'password'
           AND expires_at > ?2 AND expires_at <= ?3",
    )?;
    let values = params![secret::hash(secret), now, Purpose::Password.latest(now)];
    let user = statement.query_row(values, |row| row.get::<_, String>(0));
    Ok(user.optional()?.map(UserId::new))
}

/// Takes back the links of a user.
pub(crate) fn revoke(connection: &Connection, user: &UserId) -> Result<(), DatabaseError> {
    delete(connection, Purpose::Password, Some(user))
}

fn make(
    connection: &Connection,
    purpose: Purpose,
    user: Option<&UserId>,
    now: i64,
) -> anyhow::Result<SecretString> {
    let secret = secret::generate()?;
    connection.execute(
        "INSERT INTO links (secret_hash, purpose, user, expires_at) VALUES (?1, ?2, ?3, ?4)",
        params![
            secret::hash(&secret),
            purpose.as_str(),
            user.map(UserId::as_str),
            now + millis(purpose.lifetime())
        ],
    )?;
    Ok(secret)
}

fn delete(
    connection: &Connection,
    purpose: Purpose,
    user: Option<&UserId>,
) -> Result<(), DatabaseError> {
    connection.execute(
        "DELETE FROM links WHERE purpose = ?1 AND user IS ?2",
        params![purpose.as_str(), user.map(UserId::as_str)],
    )?;
    Ok(())
}

impl Purpose {
    fn lifetime(self) -> Duration {
        match self {
            Self::Password => PASSWORD_LIFETIME,
            Self::Setup => SETUP_LIFETIME,
        }
    }

    /// Returns the last time at which a link may end that holds now: one that ends later was made when the
    /// clock was ahead.
    fn latest(self, now: i64) -> i64 {
        now + millis(self.lifetime() + CLOCK_SKEW)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Setup => "setup",
        }
    }
}
