//! How often somebody may try to log in: per name and per address, so that neither one password can be
//! guessed nor many accounts be tried.

use std::{
    net::IpAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use crate::{
    error::{AppError, ErrorCode},
    rate::{Rate, network, whole_seconds},
};

/// Counts attempts. Cheap to clone; clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct Attempts {
    /// Of one name from one network: somebody elsewhere must not keep its owner out.
    by_name: Arc<Rate<(String, Option<IpAddr>)>>,
    /// Of one name from anywhere, so that many networks do not guess one password.
    by_name_alone: Arc<Rate<String>>,
    by_address: Arc<Rate<IpAddr>>,
}

impl Attempts {
    /// Counts an attempt, be it a right one or not; one by a link has no name.
    ///
    /// # Errors
    /// There were too many; the message says how long to wait.
    pub(crate) fn count(
        &self,
        name: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<(), AppError> {
        if let Some(address) = address {
            self.by_address.count(&network(address)).map_err(refuse)?;
        }
        let Some(name) = name else { return Ok(()) };
        let name: String = name.trim().chars().take(100).collect();
        let name = name.to_lowercase();
        self.by_name_alone.count(&name).map_err(refuse)?;
        self.by_name
            .count(&(name, address.map(network)))
            .map_err(refuse)
    }
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            by_name: Arc::new(Rate::new(PER_NAME, NAME_REFILL, CELLS)),
            by_name_alone: Arc::new(Rate::new(PER_NAME_ANYWHERE, ANYWHERE_REFILL, CELLS)),
            by_address: Arc::new(Rate::new(PER_ADDRESS, ADDRESS_REFILL, CELLS)),
        }
    }
}

/// So many that strangers do not keep others out: who sends 5,000 names in a second, from thousands of networks,
/// fills hardly any to its limit before it has drained. 2 MiB a row, made with the first login.
const CELLS: NonZeroUsize = NonZeroUsize::new(1 << 18).expect("it is not zero");

fn refuse(wait: Duration) -> AppError {
    let seconds = whole_seconds(wait);
    AppError::new(
        ErrorCode::TooManyAttempts,
        format!("too many attempts: try again in {seconds} s"),
    )
}

const PER_NAME: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");
const NAME_REFILL: Duration = Duration::from_secs(30);
const PER_NAME_ANYWHERE: NonZeroU32 = NonZeroU32::new(100).expect("a hundred is not zero");
const ANYWHERE_REFILL: Duration = Duration::from_secs(3);
const PER_ADDRESS: NonZeroU32 = NonZeroU32::new(60).expect("sixty is not zero");
const ADDRESS_REFILL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eleventh_attempt_at_a_name_waits_whatever_its_case() {
        let attempts = Attempts::default();
        let (here, elsewhere) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 1, 0]));
        for _ in 0..10 {
            attempts.count(Some("Ada"), Some(here)).unwrap();
        }
        let refused = attempts.count(Some("aDA"), Some(here));
        assert_eq!(refused.unwrap_err().code(), ErrorCode::TooManyAttempts);
        // Nobody keeps somebody else out.
        attempts.count(Some("Ada"), Some(elsewhere)).unwrap();
        attempts.count(Some("Grace"), Some(here)).unwrap();
    }

    #[test]
    fn many_networks_together_do_not_guess_one_password() {
        let attempts = Attempts::default();
        let refused = (0..200u8).filter(|n| {
            let address = IpAddr::from([10, 0, 0, *n]);
            attempts.count(Some("Ada"), Some(address)).is_err()
        });
        assert!(refused.count() >= 99);
    }

    #[test]
    fn one_address_does_not_try_many_names_nor_one_network_many_addresses() {
        for address in ["10.0.0.1", "2001:db8::"] {
            let attempts = Attempts::default();
            let address: IpAddr = address.parse().unwrap();
            let refused = (0..200u16).filter(|n| {
                let address = match address {
                    IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) | u128::from(*n)).into()),
                    v4 => v4,
                };
                attempts
                    .count(Some(&format!("user{n}")), Some(address))
                    .is_err()
            });
            assert!(refused.count() > 100);
        }
    }
}
