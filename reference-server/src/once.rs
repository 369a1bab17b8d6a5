//! [`Once`]: forms that do something that must not happen twice, as minting a token, each work once.
//!
//! A page gives its form a number; what comes back with the same number again is a repetition, by a reload
//! or a double click. A number is good for the person it was given to, in that form, for a day at most, and
//! while the process lives:
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 8 | when it was given, in milliseconds since 1970, big-endian |
//! | 8 | 16 | random |
//! | 24 | 16 | HMAC-SHA256 of those, the form and the user's id, cut short |
//!
//! What was used is remembered for each user apart. What is forgotten is refused as too old, never taken for
//! new: whatever others send, and however much of it, makes no number good again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::Sha256;

use crate::{
    error::{AppError, ErrorCode},
    people::UserId,
    time,
};

/// Remembers the numbers of forms that were sent. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Once {
    key: Arc<SecretBox<[u8; 32]>>,
    used: Arc<Mutex<HashMap<UserId, Used>>>,
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

/// What one user has sent.
#[derive(Debug, Default)]
struct Used {
    /// The oldest first, since a number begins with its time.
    numbers: BTreeMap<Number, Fate>,
    /// The last one that was forgotten: up to here, nobody knows what was used.
    forgotten: Option<Number>,
}

/// What became of the form with a number.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Done,
    /// It is being done, or failed halfway, or whoever sent it has hung up.
    Unknown,
}

/// A number without its seal.
type Number = [u8; NUMBER];

impl Once {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut outcome = Ok(());
        let key = SecretBox::init_with_mut(|key: &mut [u8; 32]| outcome = getrandom::fill(key));
        outcome?;
        Ok(Self {
            key: Arc::new(key),
            used: Arc::default(),
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
        let number = self.open(user, form, number)?;
        self.used()
            .entry(user.clone())
            .or_default()
            .take(number, time::now())?;
        let done = work.await;
        if let Some(used) = self.used().get_mut(user) {
            match &done {
                Ok(_) => used.settle(number),
                Err(error) if error.status().is_client_error() => used.give_back(&number),
                Err(_) => {}
            }
        }
        done
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

    fn open(&self, user: &UserId, form: OnceForm, number: &str) -> Result<Number, AppError> {
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

    fn used(&self) -> MutexGuard<'_, HashMap<UserId, Used>> {
        // Whole at any time: a panic in between has left nothing half-done.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn take(&mut self, number: Number, now: i64) -> Result<(), AppError> {
        let sent = match self.numbers.get(&number) {
            Some(Fate::Done) => {
                "this form was sent before, and was done then: nothing was done again. A secret is shown once; if you did not keep it, regenerate the token"
            }
            Some(Fate::Unknown) => {
                "this form was sent before, and it is not known whether it was done: nothing was done again. Look whether it was, and open the page again if not"
            }
            None => return self.take_new(number, now),
        };
        Err(AppError::new(ErrorCode::Conflict, sent))
    }

    fn take_new(&mut self, number: Number, now: i64) -> Result<(), AppError> {
        self.forget(now);
        let is_forgotten = self.forgotten.is_some_and(|forgotten| number <= forgotten);
        if is_forgotten || now.saturating_sub(given_at(&number)) > LIFE {
            return Err(AppError::invalid(
                "this form is too old: open the page again and send it from there",
            ));
        }
        self.numbers.insert(number, Fate::Unknown);
        Ok(())
    }

    /// Forgets what is too old, and the oldest if there is too much.
    fn forget(&mut self, now: i64) {
        while let Some((number, _)) = self.numbers.first_key_value()
            && (self.numbers.len() >= KEPT || now.saturating_sub(given_at(number)) > LIFE)
        {
            self.forgotten = self.forgotten.max(Some(*number));
            self.numbers.pop_first();
        }
    }

    fn settle(&mut self, number: Number) {
        if let Some(fate) = self.numbers.get_mut(&number) {
            *fate = Fate::Done;
        }
    }

    fn give_back(&mut self, number: &Number) {
        self.numbers.remove(number);
    }
}

fn given_at(number: &Number) -> i64 {
    let (time, _) = number.split_first_chunk().expect("a number is longer");
    i64::from_be_bytes(*time)
}

const TIME: usize = 8;
const NUMBER: usize = TIME + 16;
const SEAL: usize = 16;

/// How long a number is good, in milliseconds: a page may lie open overnight.
const LIFE: i64 = 24 * 60 * 60 * 1000;

/// How many forms of a user are remembered.
const KEPT: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn once_and_ada() -> (Once, UserId) {
        (Once::new().unwrap(), UserId::new("ada"))
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
        let (once, ada) = once_and_ada();
        let number = once.number(&ada, FORM).unwrap();
        once.done(&ada, &number).await.unwrap();
        let again = once.done(&ada, &number).await.unwrap_err();
        assert_eq!(again.code(), ErrorCode::Conflict);
        assert!(again.to_string().contains("was done then"), "{again}");
        let other = once.number(&ada, FORM).unwrap();
        once.done(&ada, &other).await.unwrap();
    }

    #[tokio::test]
    async fn a_form_that_was_refused_may_come_again() {
        let (once, ada) = once_and_ada();
        let number = once.number(&ada, FORM).unwrap();
        once.failed(&ada, &number, AppError::invalid("no")).await;
        once.done(&ada, &number).await.unwrap();
    }

    #[tokio::test]
    async fn of_a_form_that_failed_nobody_says_that_it_was_done() {
        let (once, ada) = once_and_ada();
        let number = once.number(&ada, FORM).unwrap();
        let failure = AppError::new(ErrorCode::Unavailable, "the disk is full");
        once.failed(&ada, &number, failure).await;
        let again = once.done(&ada, &number).await.unwrap_err();
        assert_eq!(again.code(), ErrorCode::Conflict);
        assert!(again.to_string().contains("it is not known"), "{again}");
    }

    #[tokio::test]
    async fn nothing_that_others_send_makes_a_used_number_good_again() {
        let (once, ada) = once_and_ada();
        let (eve, now) = (UserId::new("eve"), time::now());
        let used = once.number_at(&ada, FORM, now - 20_000).unwrap();
        once.done(&ada, &used).await.unwrap();
        let refused = once.number_at(&eve, FORM, now).unwrap();
        for age in (0..10 * KEPT as i64).rev() {
            once.failed(&eve, &refused, AppError::invalid("no")).await;
            let number = once.number_at(&eve, FORM, now - age).unwrap();
            once.done(&eve, &number).await.unwrap();
        }
        let again = once.done(&ada, &used).await.unwrap_err();
        assert_eq!(again.code(), ErrorCode::Conflict);
    }

    #[tokio::test]
    async fn what_was_refused_takes_no_room() {
        let (once, ada) = once_and_ada();
        let used = once.number(&ada, FORM).unwrap();
        once.done(&ada, &used).await.unwrap();
        for _ in 0..=KEPT {
            let refused = once.number(&ada, FORM).unwrap();
            once.failed(&ada, &refused, AppError::invalid("no")).await;
        }
        let again = once.done(&ada, &used).await.unwrap_err();
        assert_eq!(again.code(), ErrorCode::Conflict);
        assert_eq!(once.used()[&ada].numbers.len(), 1);
    }

    #[tokio::test]
    async fn what_is_forgotten_is_refused() {
        let (once, ada) = once_and_ada();
        let now = time::now();
        let used = once.number_at(&ada, FORM, now - 10_000).unwrap();
        once.done(&ada, &used).await.unwrap();
        for given in 0..2 * KEPT as i64 {
            let number = once.number_at(&ada, FORM, now - 9000 + given).unwrap();
            once.done(&ada, &number).await.unwrap();
        }
        assert_eq!(once.used()[&ada].numbers.len(), KEPT);
        let again = once.done(&ada, &used).await.unwrap_err();
        assert_eq!(again.code(), ErrorCode::InvalidArgument);
        assert!(again.to_string().contains("too old"), "{again}");
    }

    #[tokio::test]
    async fn a_number_is_good_for_a_day() {
        let (once, ada) = once_and_ada();
        let now = time::now();
        let old = once.number_at(&ada, FORM, now - LIFE - 1).unwrap();
        let error = once.done(&ada, &old).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        let of_today = once.number_at(&ada, FORM, now - LIFE + 60_000).unwrap();
        once.done(&ada, &of_today).await.unwrap();

        // What is forgotten with the day is no newer when the clock is set back.
        let number = once.open(&ada, FORM, &of_today).unwrap();
        let mut used = once.used();
        let used = used.get_mut(&ada).unwrap();
        used.forget(now + 2 * 60_000);
        assert!(used.numbers.is_empty());
        used.take(number, now).unwrap_err();
    }

    #[tokio::test]
    async fn a_number_is_good_for_one_person_in_one_form_alone() {
        let (once, ada) = once_and_ada();
        let number = once.number(&ada, FORM).unwrap();
        let (eve, another) = (UserId::new("eve"), Once::new().unwrap());
        let mut newer = BASE64_URL_SAFE_NO_PAD.decode(&number).unwrap();
        newer[TIME - 1] ^= 1;
        let newer = BASE64_URL_SAFE_NO_PAD.encode(newer);
        let length = number.len();
        for (what, once, user, form, number) in [
            ("another person", &once, &eve, FORM, &*number),
            ("another form", &once, &ada, OnceForm::UserAdd, &number),
            ("another process", &another, &ada, FORM, &number),
            ("another time", &once, &ada, FORM, &newer),
            ("cut short", &once, &ada, FORM, &number[..length - 1]),
            ("none", &once, &ada, FORM, ""),
            ("made up", &once, &ada, FORM, &"A".repeat(length)),
            ("too long", &once, &ada, FORM, &"A".repeat(99)),
        ] {
            let refused = once.run(user, form, number, async { Ok(()) }).await;
            let error = refused.expect_err(what);
            assert_eq!(error.code(), ErrorCode::InvalidArgument, "{what}");
        }
        // And none of them has used it up.
        once.done(&ada, &number).await.unwrap();
    }
}
