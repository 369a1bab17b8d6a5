//! [`Once`]: forms that do something that must not happen twice, as minting a token, each work once.
//!
//! A page gives its form a number; what comes back with the same number again is a repetition, by a reload
//! or a double click. A number is good for the person it was given to, in that form, while the process
//! lives:
//!
//! | offset | length | field |
//! |---|---|---|
//! | 0 | 16 | random |
//! | 16 | 16 | HMAC-SHA256 of those, the form and the user's id, cut short |

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::Sha256;

use crate::{
    error::{AppError, ErrorCode},
    people::UserId,
};

/// Remembers the numbers of forms that were sent. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Once {
    key: Arc<SecretBox<[u8; 32]>>,
    used: Arc<Mutex<Used>>,
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

#[derive(Debug, Default)]
struct Used {
    numbers: HashSet<Number>,
    /// The oldest first.
    order: VecDeque<Number>,
}

/// The random half of a number.
type Number = [u8; HALF];

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
        let mut number = [0; 2 * HALF];
        getrandom::fill(&mut number[..HALF]).map_err(anyhow::Error::from)?;
        let seal = self.seal(user, form, &number[..HALF]).finalize();
        number[HALF..].copy_from_slice(&seal.into_bytes()[..HALF]);
        Ok(BASE64_URL_SAFE_NO_PAD.encode(number))
    }

    /// Does what a form of `user` asks for, once. If it was refused, nothing was done, and the form may
    /// come again.
    ///
    /// # Errors
    /// The number is not this person's in this form, it was sent before, or the work failed.
    pub(crate) async fn run<T>(
        &self,
        user: &UserId,
        form: OnceForm,
        number: &str,
        work: impl Future<Output = Result<T, AppError>>,
    ) -> Result<T, AppError> {
        let number = self.open(user, form, number)?;
        self.take(number)?;
        let done = work.await;
        if done
            .as_ref()
            .is_err_and(|error| error.status().is_client_error())
        {
            self.used().numbers.remove(&number);
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
        let mut bytes = [0; 2 * HALF];
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(number, &mut bytes);
        let (number, seal) = bytes.split_at(HALF);
        let is_ours = self.seal(user, form, number).verify_truncated_left(seal);
        match (length, is_ours, number.try_into()) {
            (Ok(length), Ok(()), Ok(number)) if length == bytes.len() => Ok(number),
            _ => Err(AppError::invalid(
                "open the page again and send the form from there",
            )),
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // Whole at any time: a panic in between has left nothing half-done.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, number: Number) -> Result<(), AppError> {
        let mut used = self.used();
        if !used.numbers.insert(number) {
            return Err(AppError::new(
                ErrorCode::Conflict,
                "this form was sent before, and was done then: nothing was done again. A secret is shown once; if you did not keep it, regenerate the token",
            ));
        }
        used.order.push_back(number);
        if used.order.len() > KEPT
            && let Some(oldest) = used.order.pop_front()
        {
            used.numbers.remove(&oldest);
        }
        Ok(())
    }
}

const HALF: usize = 16;
const KEPT: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn once_and_ada() -> (Once, UserId) {
        (Once::new().unwrap(), UserId::new("ada"))
    }

    const FORM: OnceForm = OnceForm::TokenCreate;

    #[tokio::test]
    async fn a_form_works_once() {
        let (once, ada) = once_and_ada();
        let number = once.number(&ada, FORM).unwrap();
        once.run(&ada, FORM, &number, async { Ok(()) })
            .await
            .unwrap();
        let again = once.run(&ada, FORM, &number, async { Ok(()) }).await;
        assert_eq!(again.unwrap_err().code(), ErrorCode::Conflict);
        let other = once.number(&ada, FORM).unwrap();
        once.run(&ada, FORM, &other, async { Ok(()) })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_form_that_was_refused_may_come_again() {
        let (once, ada) = once_and_ada();
        let number = once.number(&ada, FORM).unwrap();
        let refusal = async { Err::<(), _>(AppError::invalid("no")) };
        let refused = once.run(&ada, FORM, &number, refusal).await;
        refused.unwrap_err();
        once.run(&ada, FORM, &number, async { Ok(()) })
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_number_is_good_for_one_person_in_one_form_alone() {
        let (once, ada) = once_and_ada();
        let number = once.number(&ada, FORM).unwrap();
        let (eve, another) = (UserId::new("eve"), Once::new().unwrap());
        for (what, once, user, form, number) in [
            ("another person", &once, &eve, FORM, &*number),
            ("another form", &once, &ada, OnceForm::UserAdd, &number),
            ("another process", &another, &ada, FORM, &number),
            ("cut short", &once, &ada, FORM, &number[..42]),
            ("none", &once, &ada, FORM, ""),
            ("made up", &once, &ada, FORM, &"A".repeat(43)),
            ("too long", &once, &ada, FORM, &"A".repeat(99)),
        ] {
            let refused = once.run(user, form, number, async { Ok(()) }).await;
            let error = refused.expect_err(what);
            assert_eq!(error.code(), ErrorCode::InvalidArgument, "{what}");
        }
        // And none of them has used it up.
        once.run(&ada, FORM, &number, async { Ok(()) })
            .await
            .unwrap();
    }
}
