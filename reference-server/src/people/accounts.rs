//! Making accounts and entering them: the first one by the setup link, others by a link or a password.

use std::net::IpAddr;

use secrecy::SecretString;

use super::{
    Attempts, Passwords, Refusals, Role, User, UserId,
    links::{self, Purpose},
    logins, members, users,
};
use crate::{
    audit::{self, Note, STRANGER},
    caller::{Caller, Person},
    db::{Database, DatabaseError, Transaction},
    error::{AppError, ErrorCode},
    live::{Live, Topic},
    text, time, workspaces,
};

/// Lets people in. Cheap to clone; clones share the limits.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    database: Database,
    passwords: Passwords,
    attempts: Attempts,
    refusals: Refusals,
    live: Live,
}

/// Where somebody logs in from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) address: Option<IpAddr>,
    /// The browser's `User-Agent`.
    pub(crate) agent: Option<String>,
}

impl Accounts {
    pub(crate) fn new(database: Database, live: Live) -> Self {
        Self {
            database,
            live,
            refusals: Refusals::default(),
            passwords: Passwords::default(),
            // This server's alone, as all limits of a rate are: several let somebody try as many times as
            // often, still too seldom to guess a password. Who may do what is asked of the database each time.
            attempts: Attempts::default(),
        }
    }

    /// Makes the first account, an administrator's, and logs in; uses the setup link up.
    ///
    /// # Errors
    /// The link does not hold (any longer), or name or password will not do. Of two who claim it at once,
    /// one wins.
    pub(crate) async fn claim(
        &self,
        link: SecretString,
        name: String,
        password: SecretString,
        origin: Origin,
    ) -> Result<SecretString, AppError> {
        self.attempts.count(None, origin.address)?;
        if self.is_set_up().await? {
            return Err(is_set_up());
        }
        check_name(&name)?;
        self.check_link(link.clone(), Purpose::Setup).await?;
        let hash = self.passwords.hash(password).await?;
        let id = UserId::random()?;
        let entering = self
            .database
            .write(move |transaction| {
                let now = time::now();
                if users::any(transaction)? {
                    return Err(is_set_up());
                }
                if !links::take_setup(transaction, &link, now)? {
                    return Err(link_is_over(Purpose::Setup));
                }
                users::insert(transaction, &id, &name, true, now)?;
                users::set_password_hash(transaction, &id, &hash)?;
                // What the operator made before there was anybody to own it.
                for workspace in workspaces::list(transaction)? {
                    members::set(transaction, &workspace.id, &id, Role::Owner, now)?;
                }
                enter(transaction, &id, &origin, "account.setup")
            })
            .await;
        self.announce(entering)
    }

    /// Returns whether the first account was made.
    pub(crate) async fn is_set_up(&self) -> Result<bool, AppError> {
        let any = self.database.read(users::any);
        Ok(any.await?)
    }

    /// Tells open pages of a login that there is now.
    fn announce<T>(&self, entering: Result<T, AppError>) -> Result<T, AppError> {
        if entering.is_ok() {
            self.live.announce(None, Topic::People);
            self.live.announce(None, Topic::Audit);
        }
        entering
    }

    /// Nobody without a link makes the server hash passwords.
    async fn check_link(&self, link: SecretString, purpose: Purpose) -> Result<(), AppError> {
        let holds = self
            .database
            .read(move |snapshot| links::holds(snapshot, purpose, &link, time::now()));
        if holds.await? {
            Ok(())
        } else {
            Err(link_is_over(purpose))
        }
    }

    /// Logs in with name and password.
    ///
    /// # Errors
    /// They are not right, in one sentence whatever is wrong; or it was tried too often.
    pub(crate) async fn log_in(
        &self,
        name: String,
        password: SecretString,
        origin: Origin,
    ) -> Result<SecretString, AppError> {
        self.attempts.count(Some(&name), origin.address)?;
        let found = self
            .database
            .read(move |snapshot| {
                let user = users::find_by_name(snapshot, name.trim())?;
                let hash = match &user {
                    Some(user) => users::password_hash(snapshot, &user.id)?,
                    None => None,
                };
                Ok::<_, DatabaseError>((user, hash))
            })
            .await?;
        let (user, hash) = found;
        let is_right = self.passwords.verify(password, hash.clone()).await?;
        match user {
            Some(user) if is_right && !user.is_disabled => {
                let work = move |transaction: &Transaction<'_>| {
                    // It may have been changed while the password was looked at.
                    if users::password_hash(transaction, &user.id)? != hash {
                        return Err(wrong());
                    }
                    enter(transaction, &user.id, &origin, "account.login")
                };
                self.announce(self.database.write(work).await)
            }
            user => {
                // Not waited for: how long it takes would tell which names there are.
                let accounts = self.clone();
                tokio::spawn(async move { accounts.note_refusal(user, origin).await });
                Err(wrong())
            }
        }
    }

    /// Keeps a refused login in the audit list, if it is one of those that are kept.
    async fn note_refusal(&self, user: Option<User>, origin: Origin) {
        let id = user.as_ref().map(|user| user.id.clone());
        let Some(count) = self.refusals.count(id.as_ref(), origin.address) else {
            return;
        };
        // A name that is nobody's is not kept: it may be a password in the wrong field.
        let (name, why) = match user {
            Some(user) if user.is_disabled => (user.name, "the account is locked out"),
            Some(user) => (user.name, "wrong password"),
            None => (String::new(), "no such account"),
        };
        let detail = match count {
            1 => why.to_owned(),
            count => format!("{why}: {count} attempts from there"),
        };
        let note = Note::new("account.refused").about(name).with_detail(detail);
        let kept = self.database.write(move |transaction| {
            audit::insert_refusal(transaction, id.as_ref(), origin.address, &note)
        });
        match kept.await {
            Ok(()) => self.live.announce(None, Topic::Audit),
            Err(error) => tracing::error!("the audit list misses a refused login: {error}"),
        }
    }

    /// Returns the name that whoever has the link will log in with.
    ///
    /// # Errors
    /// The link does not hold (any longer), or it was tried too often.
    pub(crate) async fn invited(
        &self,
        link: SecretString,
        origin: Origin,
    ) -> Result<String, AppError> {
        self.attempts.count(None, origin.address)?;
        let user = self
            .database
            .read(
                move |snapshot| match links::owner(snapshot, &link, time::now())? {
                    Some(id) => users::find(snapshot, &id),
                    None => Ok(None),
                },
            )
            .await?;
        user.map(|user| user.name)
            .ok_or_else(|| link_is_over(Purpose::Password))
    }

    /// Chooses a password with a link, and logs in; all other logins of that person end.
    pub(crate) async fn join(
        &self,
        link: SecretString,
        password: SecretString,
        origin: Origin,
    ) -> Result<SecretString, AppError> {
        self.attempts.count(None, origin.address)?;
        self.check_link(link.clone(), Purpose::Password).await?;
        let hash = self.passwords.hash(password).await?;
        let entering = self
            .database
            .write(move |transaction| {
                let user = links::take_password(transaction, &link, time::now())?
                    .ok_or_else(|| link_is_over(Purpose::Password))?;
                users::set_password_hash(transaction, &user, &hash)?;
                logins::end_others(transaction, &user, None)?;
                enter(transaction, &user, &origin, "account.join")
            })
            .await;
        self.announce(entering)
    }

    /// Changes the password of somebody who knows the old one; all logins but `kept` end.
    pub(crate) async fn change_password(
        &self,
        user: &User,
        kept: Option<String>,
        old: SecretString,
        new: SecretString,
    ) -> Result<(), AppError> {
        self.attempts.count(Some(&user.name), None)?;
        let id = user.id.clone();
        let hash = self
            .database
            .read(move |snapshot| users::password_hash(snapshot, &id))
            .await?;
        if !self.passwords.verify(old, hash.clone()).await? {
            return Err(AppError::invalid("the old password is wrong"));
        }
        let replaced = self.passwords.hash(new).await?;
        let id = user.id.clone();
        self.database
            .write(move |transaction| {
                if users::password_hash(transaction, &id)? != hash {
                    return Err(AppError::invalid("the old password is wrong"));
                }
                replace_password(transaction, &id, &replaced, kept.as_deref())?;
                Ok(())
            })
            .await
    }

    /// Sets somebody's password; all of their logins but `kept` end.
    pub(crate) async fn set_password(
        &self,
        user: UserId,
        password: SecretString,
        kept: Option<String>,
    ) -> Result<(), AppError> {
        let hash = self.passwords.hash(password).await?;
        self.database
            .write(move |transaction| {
                replace_password(transaction, &user, &hash, kept.as_deref())?;
                Ok(())
            })
            .await
    }
}

/// Whatever opened the account before opens it no longer: logins, but for `kept`, and links.
fn replace_password(
    transaction: &Transaction<'_>,
    user: &UserId,
    hash: &str,
    kept: Option<&str>,
) -> Result<(), DatabaseError> {
    users::set_password_hash(transaction, user, hash)?;
    links::revoke(transaction, user)?;
    logins::end_others(transaction, user, kept)?;
    Ok(())
}

fn wrong() -> AppError {
    AppError::new(ErrorCode::Unauthenticated, "name or password is wrong")
}

/// Begins a login inside the transaction that allows it, and keeps it in the audit list.
fn enter(
    transaction: &Transaction<'_>,
    user: &UserId,
    origin: &Origin,
    action: &'static str,
) -> Result<SecretString, AppError> {
    let user = users::find(transaction, user)?
        .filter(|user| !user.is_disabled)
        .ok_or_else(|| {
            AppError::new(
                ErrorCode::Unauthenticated,
                "the account is locked out: an administrator can let you in again",
            )
        })?;
    let (address, agent) = (origin.address, origin.agent.as_deref());
    let cookie = logins::begin(transaction, &user.id, address, agent, time::now())?;
    let caller = Caller::Person(Person {
        user,
        login: None,
        address,
    });
    audit::insert(transaction, &caller, None, &Note::new(action))?;
    Ok(cookie)
}

/// Checks what somebody is to be called.
pub(crate) fn check_name(name: &str) -> Result<(), AppError> {
    let is_fine = |c: char| c.is_alphanumeric() || "-_.@ ".contains(c);
    if name.trim() != name
        || name.is_empty()
        || name.chars().count() > 60
        // A letter may take no room.
        || !name.chars().all(|c| is_fine(c) && text::is_shown(c))
        // Shown as one, and then it is somebody else's name.
        || name.contains("  ")
    {
        return Err(AppError::invalid(
            "a name has 1 to 60 letters, digits, spaces or any of - _ . @, and no space around",
        ));
    }
    if !text::looks_written(name) {
        return Err(AppError::invalid("a name has a letter or digit in it"));
    }
    if text::mixes_scripts(name) {
        return Err(AppError::invalid(
            "a word of this name mixes letters of several scripts, as Latin and Cyrillic ones that look the same: write each word in one",
        ));
    }
    // Names of the audit list that are nobody's.
    let reserved = ["command line", "agent", "system", STRANGER];
    if reserved.iter().any(|other| text::looks_like(name, other)) {
        return Err(AppError::invalid("this name is taken: choose another one"));
    }
    Ok(())
}

/// Checks that nobody but `own` is called so, or so that one may be taken for the other.
pub(crate) fn check_free(
    connection: &Transaction<'_>,
    name: &str,
    own: Option<&UserId>,
) -> Result<(), AppError> {
    let other = users::find_by_name(connection, name)?;
    if other.is_some_and(|other| Some(&other.id) != own) {
        return Err(AppError::new(
            ErrorCode::AlreadyExists,
            "there is a user of that name already",
        ));
    }
    if users::is_taken(connection, name, own)? {
        return Err(AppError::new(
            ErrorCode::AlreadyExists,
            "this looks like the name of another user: choose one that nobody takes for theirs",
        ));
    }
    Ok(())
}

fn is_set_up() -> AppError {
    AppError::new(
        ErrorCode::NotFound,
        "the first account was made already: log in, or ask an administrator to add you",
    )
}

fn link_is_over(purpose: Purpose) -> AppError {
    let told = match purpose {
        Purpose::Password => {
            "this link is not whole, was used already, or is too old: ask whoever gave it to you for a new one"
        }
        // Whoever sets a server up has nobody to ask but the server.
        Purpose::Setup => {
            "this link is not whole, or is too old: run `wst setup-link` on the server for one that holds"
        }
    };
    AppError::new(ErrorCode::NotFound, told)
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, time::Duration};

    use super::*;
    use crate::db::testing;

    #[test]
    fn a_name_can_be_seen_and_is_nobody_elses() {
        for (name, what) in [
            ("\u{3164}", "a filler alone"),
            ("ada\u{115f}", "a filler behind a name"),
            ("\u{ffa0} \u{1160}", "fillers with a space between"),
            ("\u{11837}", "a mark that looks like a dot"),
            ("-.-", "no letter"),
            ("Command Iine", "a capital i in the place of the l"),
            ("ЅҮЅТЕМ", "Cyrillic capitals"),
            ("AGENT", "capitals"),
        ] {
            let refused = check_name(name);
            assert_eq!(
                refused.expect_err(what).code(),
                ErrorCode::InvalidArgument,
                "{what}"
            );
        }
        for name in ["Ada Lovelace", "김서연", "Иван", "ノ3", "x@y.example", "0"] {
            check_name(name).expect(name);
        }
    }

    const OLD: &str = "four words are enough";

    /// An account's password may change while somebody waits to have the old one looked at.
    #[tokio::test]
    async fn the_password_from_before_opens_nothing_and_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (_, database) = testing::open(directory.path()).await;
        let accounts = Accounts::new(database.clone(), Live::default());
        let hash = accounts.passwords.hash(OLD.into()).await.unwrap();
        let id = UserId::random().unwrap();
        let ada = id.clone();
        let insert = move |transaction: &Transaction<'_>| {
            users::insert(transaction, &ada, "ada", false, time::now())?;
            users::set_password_hash(transaction, &ada, &hash)?;
            users::find(transaction, &ada)
        };
        let user = database
            .write::<_, DatabaseError>(insert)
            .await
            .unwrap()
            .unwrap();

        let log_in = || accounts.log_in("ada".to_owned(), OLD.into(), Origin::default());
        log_in().await.unwrap();
        let busy = accounts.passwords.occupy().await;
        let mut entering = pin!(log_in());
        let change = accounts.change_password(&user, None, OLD.into(), "of the intruder".into());
        let mut changing = pin!(change);
        // Both have read the hash when they wait for their turn.
        let before = accounts.passwords.asked();
        while accounts.passwords.asked() < before + 2 {
            assert!(futures_util::poll!(&mut entering).is_pending());
            assert!(futures_util::poll!(&mut changing).is_pending());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let write = move |transaction: &Transaction<'_>| {
            replace_password(transaction, &id, "the new one's", None)
        };
        database.write::<_, DatabaseError>(write).await.unwrap();
        drop(busy);
        let entered = entering.await.unwrap_err();
        assert_eq!(entered.code(), ErrorCode::Unauthenticated);
        assert_eq!(
            changing.await.unwrap_err().to_string(),
            "the old password is wrong"
        );
        let logins = database.read::<i64, DatabaseError>(|snapshot| {
            snapshot.query_row("SELECT count(*) FROM logins", [], |row| row.get(0))
        });
        assert_eq!(logins.await.unwrap(), 0);
    }
}
