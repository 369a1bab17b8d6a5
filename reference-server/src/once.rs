//! [`Once`]: forms that do something that must not happen twice, as minting a token, each work once.
//!
//! A page gives its form a random number; what comes back with the same number again is a repetition, by
//! a reload or a double click.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::error::{AppError, ErrorCode};

/// Remembers the numbers of forms that were sent. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Once {
    used: Arc<Mutex<Used>>,
}

#[derive(Debug, Default)]
struct Used {
    numbers: HashSet<String>,
    /// The oldest first.
    order: VecDeque<String>,
}

impl Once {
    /// Returns a number for a form.
    pub(crate) fn number() -> Result<String, AppError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(anyhow::Error::from)?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Does what a form asks for, once. If it was refused, nothing was done, and the form may come again.
    ///
    /// # Errors
    /// It was sent before, or the work failed.
    pub(crate) async fn run<T>(
        &self,
        number: &str,
        work: impl Future<Output = Result<T, AppError>>,
    ) -> Result<T, AppError> {
        self.take(number)?;
        let done = work.await;
        if done
            .as_ref()
            .is_err_and(|error| error.status().is_client_error())
        {
            self.used().numbers.remove(number);
        }
        done
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // Whole at any time: a panic in between has left nothing half-done.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, number: &str) -> Result<(), AppError> {
        // 16 bytes in base64; what is longer did not come from a page of ours.
        if number.len() != 22 {
            return Err(AppError::invalid(
                "open the page again and send the form from there",
            ));
        }
        let mut used = self.used();
        if !used.numbers.insert(number.to_owned()) {
            return Err(AppError::new(
                ErrorCode::Conflict,
                "this form was sent before, and was done then: nothing was done again. A secret is shown once; if you did not keep it, regenerate the token",
            ));
        }
        used.order.push_back(number.to_owned());
        if used.order.len() > KEPT
            && let Some(oldest) = used.order.pop_front()
        {
            used.numbers.remove(&oldest);
        }
        Ok(())
    }
}

const KEPT: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_form_works_once() {
        let (once, number) = (Once::default(), Once::number().unwrap());
        once.run(&number, async { Ok(()) }).await.unwrap();
        let again = once.run(&number, async { Ok(()) }).await;
        assert_eq!(again.unwrap_err().code(), ErrorCode::Conflict);
        let other = Once::number().unwrap();
        once.run(&other, async { Ok(()) }).await.unwrap();
        assert!(once.run("", async { Ok(()) }).await.is_err());
    }

    #[tokio::test]
    async fn a_form_that_was_refused_may_come_again() {
        let (once, number) = (Once::default(), Once::number().unwrap());
        let refused = once.run(&number, async { Err::<(), _>(AppError::invalid("no")) });
        refused.await.unwrap_err();
        once.run(&number, async { Ok(()) }).await.unwrap();
    }
}
