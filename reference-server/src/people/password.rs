//! Passwords: argon2id, on a bounded number of threads.

use std::sync::{Arc, LazyLock};

use anyhow::{Context as _, anyhow};
use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use crate::error::AppError;

/// Hashes and checks passwords. Cheap to clone; clones share the threads.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    permits: Arc<Semaphore>,
    /// How many have come to wait for their turn.
    #[cfg(test)]
    asked: Arc<std::sync::atomic::AtomicUsize>,
}

impl Passwords {
    /// Returns the hash of a new password, as a PHC string with a salt of its own.
    ///
    /// # Errors
    /// The password is too short or too long.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<String, AppError> {
        check(&password)?;
        self.run(move || {
            Argon2::default()
                .hash_password(password.expose_secret().as_bytes())
                .map(|hash| hash.to_string())
                .map_err(|error| anyhow!("cannot hash a password: {error}"))
        })
        .await?
        .map_err(AppError::from)
    }

    /// Returns whether `password` is the one that `hash` was made of.
    ///
    /// Takes as long without a hash as with one, so that nobody learns who has an account.
    pub(crate) async fn verify(
        &self,
        password: SecretString,
        hash: Option<String>,
    ) -> Result<bool, AppError> {
        // Longer ones were never accepted, and hashing them would be work for nothing.
        if password.expose_secret().len() > MAX_LENGTH {
            return Ok(false);
        }
        let is_right = self.run(move || {
            let stored = hash.as_deref().unwrap_or(&NOBODYS);
            let is_right = PasswordHash::new(stored).is_ok_and(|stored| {
                Argon2::default()
                    .verify_password(password.expose_secret().as_bytes(), &stored)
                    .is_ok()
            });
            is_right && hash.is_some()
        });
        Ok(is_right.await?)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<T> {
        #[cfg(test)]
        self.asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let permit = Arc::clone(&self.permits).acquire_owned().await?;
        // The permit goes along: the work goes on when whoever asked for it has hung up.
        let work = move || {
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(work)
            .await
            .context("hashing a password stopped")
    }
}

#[cfg(test)]
impl Passwords {
    /// Keeps everybody else waiting.
    pub(super) async fn occupy(&self) -> tokio::sync::OwnedSemaphorePermit {
        let all = u32::try_from(AT_ONCE).expect("there are few");
        let permits = Arc::clone(&self.permits).acquire_many_owned(all).await;
        permits.expect("the semaphore is never closed")
    }

    /// Returns how many have asked for work so far.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            #[cfg(test)]
            asked: Arc::default(),
        }
    }
}

fn check(password: &SecretString) -> Result<(), AppError> {
    let password = password.expose_secret();
    if password.chars().count() < MIN_CHARACTERS {
        return Err(AppError::invalid(
            "a password has at least 10 characters: a few words are better than signs",
        ));
    }
    if password.len() > MAX_LENGTH {
        return Err(AppError::invalid("a password has at most 1,024 bytes"));
    }
    Ok(())
}

/// Each takes 19 MiB while it lasts (the parameters that OWASP names first): two of them leave the
/// other cores, and the memory, to everybody else.
const AT_ONCE: usize = 2;
const MIN_CHARACTERS: usize = 10;
const MAX_LENGTH: usize = 1024;

/// What is compared with where there is no account.
static NOBODYS: LazyLock<String> = LazyLock::new(|| {
    let hash = Argon2::default().hash_password_with_salt(b"nobody's", b"0123456789abcdef");
    // The parameters and the length of the salt are constants that argon2 accepts.
    hash.map(|hash| hash.to_string()).unwrap_or_default()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_is_right() {
        let passwords = Passwords::default();
        let hash = passwords
            .hash("correct horse battery".into())
            .await
            .unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        for (password, is_right) in [
            ("correct horse battery", true),
            ("correct horse batterz", false),
            ("correct horse battery ", false),
            ("", false),
        ] {
            let verified = passwords.verify(password.into(), Some(hash.clone())).await;
            assert_eq!(verified.unwrap(), is_right, "{password}");
        }
    }

    #[tokio::test]
    async fn without_an_account_no_password_is_right_and_the_work_is_done_all_the_same() {
        let passwords = Passwords::default();
        assert!(PasswordHash::new(&NOBODYS).is_ok());
        assert!(!passwords.verify("nobody's".into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_counts_until_it_is_done() {
        let passwords = Passwords::default();
        let free = || passwords.permits.available_permits();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let mut asked = Box::pin(passwords.run(move || gone.recv()));
        assert!(futures_util::poll!(&mut asked).is_pending());
        drop(asked);
        assert_eq!(free(), AT_ONCE - 1);
        go.send(()).unwrap();
        while free() < AT_ONCE {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn refuses_passwords_that_are_short_or_endless() {
        let passwords = Passwords::default();
        for password in ["", "123456789", &"x".repeat(1025)] {
            assert!(
                passwords.hash(password.into()).await.is_err(),
                "{}",
                password.len()
            );
        }
    }
}
