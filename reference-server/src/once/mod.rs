//! [`Once`]: forms that do something that must not happen twice, as minting a token, each work once.
//!
//! A page gives its form a number; what comes back with the same number again is a repetition, by a reload
//! or a double click. A number is good for the person it was given to, in that form, for a day at most,
//! whichever server of the database has given it and whichever it is sent to:
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 8 | when it was given, in milliseconds since 1970, big-endian |
//! | 8 | 16 | random |
//! | 24 | 16 | HMAC-SHA256 of those, the form and the user's id, cut short |
//!
//! The key of the seals is in the database, and in no backup. It opens nothing: a number is no login.
//! What was used is remembered there for each user apart ([`sent`]). What is forgotten is refused as too
//! old, never taken for new: whatever others send, and however much of it, makes no number good again.

mod sent;

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    db::{Database, DatabaseError, Transaction, meta},
    error::AppError,
    people::UserId,
    time,
};

/// Remembers the numbers of forms that were sent. Cheap to clone; clones share the key.
#[derive(Clone, Debug)]
pub(crate) struct Once {
    key: Arc<Key>,
    database: Database,
}

/// The forms that work once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OnceForm {
    TokenCreate,
    TokenRegenerate,
    TokenReplace,
    TransferAccept,
    UserAdd,
    UserLink,
    WorkspaceCreate,
}

/// A number without its seal: its time first, so that numbers are in the order in which they were given.
type Number = [u8; NUMBER];

type Key = SecretBox<[u8; KEY]>;

impl Once {
    /// Reads the key of the database's forms, or makes it.
    pub(crate) async fn open(database: Database) -> anyhow::Result<Self> {
        let mut made = Zeroizing::new([0; KEY]);
        getrandom::fill(&mut *made).context("the operating system gave no randomness")?;
        let made = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(*made));
        let kept = database
            .write(move |transaction| {
                let kept = meta::get_or_set(transaction, meta::FORM_KEY, &made)?;
                Ok::<_, DatabaseError>(Zeroizing::new(kept))
            })
            .await?;
        Ok(Self {
            key: Arc::new(decode_key(&kept)?),
            database,
        })
    }

    /// Returns a number for a form that `user` is shown.
    pub(crate) fn number(&self, user: &UserId, form: OnceForm) -> Result<String, AppError> {
        self.number_at(user, form, time::now())
    }

    fn number_at(&self, user: &UserId, form: OnceForm, now: i64) -> Result<String, AppError> {
        let mut number = [0; NUMBER + SEAL];
        number[..TIME].copy_from_slice(&now.to_be_bytes());
        getrandom::fill(&mut number[TIME..NUMBER]).map_err(anyhow::Error::from)?;
        let seal = self.seal(user, form, &number[..NUMBER]).finalize();
        number[NUMBER..].copy_from_slice(&seal.into_bytes()[..SEAL]);
        Ok(BASE64_URL_SAFE_NO_PAD.encode(number))
    }

    /// Does what a form of `user` asks for, once. If it was refused, nothing was done, and the form may
    /// come again.
    ///
    /// # Errors
    /// The number is not this person's in this form, it is too old, it was sent before, or the work failed.
    pub(crate) async fn run<T>(
        &self,
        user: &UserId,
        form: OnceForm,
        number: &str,
        work: impl Future<Output = Result<T, AppError>>,
    ) -> Result<T, AppError> {
        let number = self.open_number(user, form, number)?;
        let sender = user.clone();
        self.database
            .write(move |transaction| sent::take(transaction, &sender, &number, time::now()))
            .await?;
        let done = work.await;
        let noted = match &done {
            Ok(_) => self.note(user, number, sent::settle).await,
            Err(error) if error.status().is_client_error() => {
                self.note(user, number, sent::give_back).await
            }
            Err(_) => Ok(()),
        };
        // What was done is shown all the same: it may be a secret that is shown once.
        if let Err(error) = noted {
            tracing::warn!("it was not noted what became of a form: {error}");
        }
        done
    }

    async fn note(
        &self,
        user: &UserId,
        number: Number,
        what: fn(&Transaction<'_>, &UserId, &Number) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        let user = user.clone();
        self.database
            .write(move |transaction| what(transaction, &user, &number))
            .await
    }

    fn seal(&self, user: &UserId, form: OnceForm, number: &[u8]) -> Hmac<Sha256> {
        let mut seal =
            Hmac::new_from_slice(self.key.expose_secret()).expect("HMAC takes a key of any length");
        seal.update(number);
        seal.update(&[form as u8]);
        // Last, since it alone has no fixed length.
        seal.update(user.as_str().as_bytes());
        seal
    }

    fn open_number(&self, user: &UserId, form: OnceForm, number: &str) -> Result<Number, AppError> {
        let mut bytes = [0; NUMBER + SEAL];
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(number, &mut bytes);
        let (number, seal) = bytes.split_at(NUMBER);
        let is_ours = self.seal(user, form, number).verify_truncated_left(seal);
        match (length, is_ours, number.try_into()) {
            (Ok(length), Ok(()), Ok(number)) if length == bytes.len() => Ok(number),
            _ => Err(AppError::invalid(
                "open the page again and send the form from there",
            )),
        }
    }
}

fn decode_key(text: &str) -> anyhow::Result<Key> {
    let mut length = Ok(0);
    let key = Key::init_with_mut(|key: &mut [u8; KEY]| {
        length = BASE64_URL_SAFE_NO_PAD.decode_slice(text, key);
    });
    match length {
        Ok(KEY) => Ok(key),
        _ => Err(anyhow!(
            "the key of forms in the database is damaged: restore it from a backup"
        )),
    }
}

const TIME: usize = 8;
const NUMBER: usize = TIME + 16;
const SEAL: usize = 16;
const KEY: usize = 32;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{
        sent::{KEPT, LIFE},
        *,
    };
    use crate::{
        db::{params, scratch::Scratch},
        error::ErrorCode,
        people::users,
    };

    /// Some who send forms, and the database.
    struct Fixture {
        once: Once,
        ada: UserId,
        eve: UserId,
        scratch: Scratch,
    }

    impl Fixture {
        async fn new(scratch: Scratch) -> Self {
            let database = scratch.connect().await;
            let [ada, eve] = ["ada", "eve"].map(UserId::new);
            database
                .write(|transaction| {
                    for name in ["ada", "eve"] {
                        users::insert(transaction, &UserId::new(name), name, false, 1)?;
                    }
                    Ok::<_, DatabaseError>(())
                })
                .await
                .unwrap();
            Self {
                once: Once::open(database).await.unwrap(),
                ada,
                eve,
                scratch,
            }
        }

        async fn on_sqlite() -> Self {
            Self::new(Scratch::sqlite()).await
        }

        /// One for each kind of database that there is.
        async fn each() -> Vec<Self> {
            let mut each = vec![Self::on_sqlite().await];
            if let Some(scratch) = Scratch::postgres().await {
                each.push(Self::new(scratch).await);
            }
            each
        }

        /// Returns another server's, or that of the same server when it has started again.
        async fn another(&self) -> Once {
            Once::open(self.scratch.connect().await).await.unwrap()
        }

        async fn kept(&self, user: &UserId) -> i64 {
            let user = user.clone();
            let count = self.once.database.read(move |snapshot| {
                snapshot.query_row(
                    "SELECT count(*) FROM sent_forms WHERE user = ?1 AND fate <> 'forgotten'",
                    params![user.as_str()],
                    |row| row.get(0),
                )
            });
            count.await.unwrap()
        }

        /// Sends forms that were given at these times and were done, all in one transaction.
        async fn send_many(&self, user: &UserId, times: impl Iterator<Item = i64>) {
            let number = |time| {
                let number = self.once.number_at(user, FORM, time).unwrap();
                self.once.open_number(user, FORM, &number).unwrap()
            };
            let numbers: Vec<Number> = times.map(number).collect();
            let user = user.clone();
            let sending = self.once.database.write(move |transaction| {
                for number in numbers {
                    sent::take(transaction, &user, &number, time::now())?;
                    sent::settle(transaction, &user, &number)?;
                }
                Ok::<_, AppError>(())
            });
            sending.await.unwrap();
        }
    }

    const FORM: OnceForm = OnceForm::TokenCreate;

    impl Once {
        async fn done(&self, user: &UserId, number: &str) -> Result<(), AppError> {
            self.run(user, FORM, number, async { Ok(()) }).await
        }

        async fn failed(&self, user: &UserId, number: &str, error: AppError) -> AppError {
            let work = async { Err::<(), _>(error) };
            self.run(user, FORM, number, work).await.unwrap_err()
        }
    }

    #[tokio::test]
    async fn a_form_works_once() {
        for Fixture { once, ada, .. } in &Fixture::each().await {
            let number = once.number(ada, FORM).unwrap();
            once.done(ada, &number).await.unwrap();
            let again = once.done(ada, &number).await.unwrap_err();
            assert_eq!(again.code(), ErrorCode::Conflict);
            assert!(again.to_string().contains("was done then"), "{again}");
            let other = once.number(ada, FORM).unwrap();
            once.done(ada, &other).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_form_works_once_over_all_servers() {
        for fixture in Fixture::each().await {
            let (ada, shown_by) = (&fixture.ada, &fixture.once);
            let sent_to = fixture.another().await;
            let number = shown_by.number(ada, FORM).unwrap();
            sent_to.done(ada, &number).await.unwrap();
            for once in [shown_by, &sent_to] {
                let again = once.done(ada, &number).await.unwrap_err();
                assert_eq!(again.code(), ErrorCode::Conflict);
                assert!(again.to_string().contains("was done then"), "{again}");
            }
            // What one refuses may come again to the other, and what has failed at one may not.
            let number = shown_by.number(ada, FORM).unwrap();
            shown_by.failed(ada, &number, AppError::invalid("no")).await;
            let failure = AppError::new(ErrorCode::Unavailable, "the disk is full");
            sent_to.failed(ada, &number, failure).await;
            let again = shown_by.done(ada, &number).await.unwrap_err();
            assert!(again.to_string().contains("it is not known"), "{again}");
        }
    }

    #[tokio::test]
    async fn of_two_that_are_sent_to_two_servers_at_once_one_runs() {
        for fixture in Fixture::each().await {
            let (ada, one) = (&fixture.ada, &fixture.once);
            let other = fixture.another().await;
            for _ in 0..20 {
                let number = one.number(ada, FORM).unwrap();
                let ran = AtomicUsize::new(0);
                let send = |once: &Once| {
                    let (once, number, ran) = (once.clone(), number.clone(), &ran);
                    async move {
                        let work = async {
                            ran.fetch_add(1, Ordering::Relaxed);
                            tokio::task::yield_now().await;
                            Ok(())
                        };
                        once.run(ada, FORM, &number, work).await
                    }
                };
                let (by_one, by_other) = tokio::join!(send(one), send(&other));
                assert_eq!(ran.load(Ordering::Relaxed), 1);
                assert!(by_one.is_ok() != by_other.is_ok());
            }
        }
    }

    #[tokio::test]
    async fn a_form_outlives_the_server_that_has_shown_it() {
        for fixture in Fixture::each().await {
            let (ada, once) = (&fixture.ada, &fixture.once);
            let [sent, unsent, begun] = [(); 3].map(|()| once.number(ada, FORM).unwrap());
            once.done(ada, &sent).await.unwrap();
            {
                // The server ends in the midst of it.
                let work = std::future::pending::<Result<(), AppError>>();
                let mut running = std::pin::pin!(once.run(ada, FORM, &begun, work));
                while fixture.kept(ada).await < 2 {
                    assert!(futures_util::poll!(&mut running).is_pending());
                }
            }
            let once = fixture.another().await;
            let again = once.done(ada, &sent).await.unwrap_err();
            assert_eq!(again.code(), ErrorCode::Conflict);
            let again = once.done(ada, &begun).await.unwrap_err();
            assert!(again.to_string().contains("it is not known"), "{again}");
            once.done(ada, &unsent).await.unwrap();
        }
    }

    #[tokio::test]
    async fn servers_that_start_at_once_agree_on_the_key() {
        for fixture in Fixture::each().await {
            let remove = |transaction: &Transaction<'_>| meta::remove(transaction, meta::FORM_KEY);
            fixture.once.database.write(remove).await.unwrap();
            let (one, other) = tokio::join!(fixture.another(), fixture.another());
            let number = one.number(&fixture.ada, FORM).unwrap();
            other.done(&fixture.ada, &number).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_form_that_was_refused_may_come_again() {
        for Fixture { once, ada, .. } in &Fixture::each().await {
            let number = once.number(ada, FORM).unwrap();
            once.failed(ada, &number, AppError::invalid("no")).await;
            once.done(ada, &number).await.unwrap();
        }
    }

    #[tokio::test]
    async fn of_a_form_that_failed_nobody_says_that_it_was_done() {
        for Fixture { once, ada, .. } in &Fixture::each().await {
            let number = once.number(ada, FORM).unwrap();
            let failure = AppError::new(ErrorCode::Unavailable, "the disk is full");
            once.failed(ada, &number, failure).await;
            let again = once.done(ada, &number).await.unwrap_err();
            assert_eq!(again.code(), ErrorCode::Conflict);
            assert!(again.to_string().contains("it is not known"), "{again}");
        }
    }

    #[tokio::test]
    async fn nothing_that_others_send_makes_a_used_number_good_again() {
        let fixture = Fixture::on_sqlite().await;
        let Fixture { once, ada, eve, .. } = &fixture;
        let now = time::now();
        let used = once.number_at(ada, FORM, now - 20_000).unwrap();
        once.done(ada, &used).await.unwrap();
        let refused = once.number_at(eve, FORM, now).unwrap();
        for round in (0..5).rev() {
            once.failed(eve, &refused, AppError::invalid("no")).await;
            let ages = 2 * KEPT * round..2 * KEPT * (round + 1);
            fixture
                .send_many(eve, ages.rev().map(|age| now - age))
                .await;
            assert_eq!(fixture.kept(eve).await, KEPT);
        }
        let again = once.done(ada, &used).await.unwrap_err();
        assert_eq!(again.code(), ErrorCode::Conflict);
    }

    #[tokio::test]
    async fn what_was_refused_takes_no_room() {
        let fixture = Fixture::on_sqlite().await;
        let Fixture { once, ada, .. } = &fixture;
        let used = once.number(ada, FORM).unwrap();
        once.done(ada, &used).await.unwrap();
        for _ in 0..=KEPT {
            let refused = once.number(ada, FORM).unwrap();
            once.failed(ada, &refused, AppError::invalid("no")).await;
        }
        let again = once.done(ada, &used).await.unwrap_err();
        assert_eq!(again.code(), ErrorCode::Conflict);
        assert_eq!(fixture.kept(ada).await, 1);
    }

    #[tokio::test]
    async fn what_is_forgotten_is_refused() {
        for fixture in Fixture::each().await {
            let Fixture { once, ada, .. } = &fixture;
            let now = time::now();
            let used = once.number_at(ada, FORM, now - 10_000).unwrap();
            once.done(ada, &used).await.unwrap();
            let later = (0..2 * KEPT).map(|given| now - 9000 + given);
            fixture.send_many(ada, later).await;
            assert_eq!(fixture.kept(ada).await, KEPT);
            for once in [once, &fixture.another().await] {
                let again = once.done(ada, &used).await.unwrap_err();
                assert_eq!(again.code(), ErrorCode::InvalidArgument);
                assert!(again.to_string().contains("too old"), "{again}");
            }
        }
    }

    #[tokio::test]
    async fn a_number_is_good_for_a_day() {
        for fixture in Fixture::each().await {
            let Fixture { once, ada, eve, .. } = &fixture;
            let now = time::now();
            let old = once.number_at(ada, FORM, now - LIFE - 1).unwrap();
            let error = once.done(ada, &old).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            let mut of_today = Vec::new();
            for user in [ada, eve] {
                let number = once.number_at(user, FORM, now - LIFE + 60_000).unwrap();
                once.done(user, &number).await.unwrap();
                of_today.push((user, number));
            }

            // What is forgotten with the day is no newer when the clock is set back.
            let forgetting = once
                .database
                .write(move |transaction| sent::forget_old(transaction, now + 2 * 60_000));
            forgetting.await.unwrap();
            for (user, number) in of_today {
                assert_eq!(fixture.kept(user).await, 0);
                let again = once.done(user, &number).await.unwrap_err();
                assert!(again.to_string().contains("too old"), "{again}");
            }
        }
    }

    #[tokio::test]
    async fn of_everybody_one_row_stays_of_what_is_too_old() {
        for fixture in Fixture::each().await {
            let Fixture { once, ada, .. } = &fixture;
            let now = time::now();
            fixture.send_many(ada, (0..9).map(|age| now - age)).await;
            let rows = once.database.write(move |transaction| {
                sent::forget_old(transaction, now + LIFE + 1)?;
                let sql = "SELECT count(*) FROM sent_forms";
                transaction.query_row(sql, [], |row| row.get::<_, i64>(0))
            });
            assert_eq!(rows.await.unwrap(), 1);
        }
    }

    #[tokio::test]
    async fn a_number_is_good_for_one_person_in_one_form_alone() {
        let fixture = Fixture::on_sqlite().await;
        let Fixture { once, ada, eve, .. } = &fixture;
        let number = once.number(ada, FORM).unwrap();
        let elsewhere = Fixture::on_sqlite().await;
        let mut newer = BASE64_URL_SAFE_NO_PAD.decode(&number).unwrap();
        newer[TIME - 1] ^= 1;
        let newer = BASE64_URL_SAFE_NO_PAD.encode(newer);
        let length = number.len();
        for (what, once, user, form, number) in [
            ("another person", once, eve, FORM, &*number),
            ("another form", once, ada, OnceForm::UserAdd, &number),
            ("another database", &elsewhere.once, ada, FORM, &number),
            ("another time", once, ada, FORM, &newer),
            ("cut short", once, ada, FORM, &number[..length - 1]),
            ("none", once, ada, FORM, ""),
            ("made up", once, ada, FORM, &"A".repeat(length)),
            ("too long", once, ada, FORM, &"A".repeat(99)),
        ] {
            let refused = once.run(user, form, number, async { Ok(()) }).await;
            let error = refused.expect_err(what);
            assert_eq!(error.code(), ErrorCode::InvalidArgument, "{what}");
        }
        // And none of them has used it up.
        once.done(ada, &number).await.unwrap();
    }
}
