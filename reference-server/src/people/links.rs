//! One-time links: to make the first account, and to choose a password.
//!
//! The secret stands behind the `#` of the URL, which browsers send to nobody: the page hands it over
//! in a form.

use std::time::Duration;

use secrecy::SecretString;

use super::{
    UserId,
    logins::{CLOCK_SKEW, millis},
    secret,
};
use crate::db::{DatabaseError, OptionalExtension as _, Transaction, params};

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

/// Makes a setup link's secret. One that holds goes on to: another server of the database may have shown it,
/// and starts of several do not end each other's. The first account ends them all.
pub(crate) fn make_setup(connection: &Transaction<'_>, now: i64) -> anyhow::Result<SecretString> {
    connection.execute(
        "DELETE FROM links WHERE purpose = 'setup' AND (expires_at <= ?1 OR expires_at > ?2)",
        params![now, Purpose::Setup.latest(now)],
    )?;
    make(connection, Purpose::Setup, None, now)
}

/// Makes the secret of a link for `user`; the one before no longer holds.
pub(crate) fn make_password(
    connection: &Transaction<'_>,
    user: &UserId,
    now: i64,
) -> anyhow::Result<SecretString> {
    delete(connection, Purpose::Password, Some(user))?;
    make(connection, Purpose::Password, Some(user), now)
}

/// Returns whether the link with this secret still holds.
pub(crate) fn holds(
    connection: &Transaction<'_>,
    purpose: Purpose,
    secret: &SecretString,
    now: i64,
) -> Result<bool, DatabaseError> {
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM links WHERE secret_hash = ?1 AND purpose = ?2 AND expires_at > ?3 AND expires_at <= ?4",
    )?;
    statement.exists(params![
        secret::hash(secret),
        purpose.as_str(),
        now,
        purpose.latest(now)
    ])
}

/// Uses a setup link up, and all others with it; returns whether it held.
pub(crate) fn take_setup(
    connection: &Transaction<'_>,
    secret: &SecretString,
    now: i64,
) -> Result<bool, DatabaseError> {
    let taken = connection.execute(
        "DELETE FROM links WHERE secret_hash = ?1 AND purpose = 'setup' AND expires_at > ?2 AND expires_at <= ?3",
        params![secret::hash(secret), now, Purpose::Setup.latest(now)],
    )?;
    if taken > 0 {
        delete(connection, Purpose::Setup, None)?;
    }
    Ok(taken > 0)
}

/// Uses a person's link up, and returns whose it was if it held.
pub(crate) fn take_password(
    connection: &Transaction<'_>,
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
    connection: &Transaction<'_>,
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
pub(crate) fn revoke(connection: &Transaction<'_>, user: &UserId) -> Result<(), DatabaseError> {
    delete(connection, Purpose::Password, Some(user))
}

fn make(
    connection: &Transaction<'_>,
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
    connection: &Transaction<'_>,
    purpose: Purpose,
    user: Option<&UserId>,
) -> Result<(), DatabaseError> {
    connection.execute(
        "DELETE FROM links WHERE purpose = ?1 AND user IS NOT DISTINCT FROM ?2",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::scratch::Scratch;

    #[tokio::test]
    async fn servers_that_start_on_one_database_show_a_setup_link_each_and_one_is_used() {
        let mut each = vec![Scratch::sqlite()];
        each.extend(Scratch::postgres().await);
        for scratch in each {
            let work = |transaction: &Transaction<'_>| {
                let now = 1_000_000;
                let old = make_setup(transaction, 0)?;
                let (one, other) = (make_setup(transaction, now)?, make_setup(transaction, now)?);
                let later = now + millis(SETUP_LIFETIME) - 1;
                for link in [&one, &other] {
                    assert!(holds(transaction, Purpose::Setup, link, later)?);
                }
                assert!(!holds(transaction, Purpose::Setup, &old, later)?);
                assert!(take_setup(transaction, &one, later)?);
                for link in [&old, &one, &other] {
                    assert!(!take_setup(transaction, link, now)?);
                }
                make_setup(transaction, now)?;
                make_setup(transaction, later + 2)?;
                let count = "SELECT count(*) FROM links";
                let count: i64 = transaction.query_row(count, [], |row| row.get(0))?;
                assert_eq!(count, 1, "what is over is taken away");
                anyhow::Ok(())
            };
            let database = scratch.connect().await;
            let done = database.write(move |transaction| {
                work(transaction).unwrap();
                Ok::<_, DatabaseError>(())
            });
            done.await.unwrap();
        }
    }
}
