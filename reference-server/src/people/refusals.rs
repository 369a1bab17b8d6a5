//! Which refused logins the audit list keeps: enough to see that somebody guesses, and where, and never so
//! many that guessing fills the disk.
//!
//! Of one account from one network the first is kept, the third, the tenth, the thirtieth and so on, each with the count; after an hour
//! without one it begins anew. Of all together there are at most thirty at once and one a minute.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::UserId;
use crate::{rate::network, time};

/// Counts the refused logins of this server. Cheap to clone; clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct Refusals {
    counts: Arc<Mutex<HashMap<Key, Count>>>,
    entries: Arc<DefaultDirectRateLimiter>,
}

type Key = (Option<UserId>, Option<IpAddr>);

#[derive(Debug)]
struct Count {
    count: u32,
    /// Milliseconds since 1970.
    last: i64,
}

impl Refusals {
    /// Counts a refused login at the account of `user`, if there is such a one; returns how many there
    /// were from there if this one is to be kept.
    pub(super) fn count(&self, user: Option<&UserId>, address: Option<IpAddr>) -> Option<u32> {
        let count = self.count_at(user, address, time::now());
        (is_kept(count) && self.entries.check().is_ok()).then_some(count)
    }

    fn count_at(&self, user: Option<&UserId>, address: Option<IpAddr>, now: i64) -> u32 {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST_KEYS {
            counts.retain(|_, count| now - count.last < FORGOTTEN_AFTER);
        }
        if counts.len() >= MOST_KEYS {
            counts.clear();
        }
        let key = (user.cloned(), address.map(network));
        let entry = counts.entry(key).or_insert(Count {
            count: 0,
            last: now,
        });
        if now - entry.last >= FORGOTTEN_AFTER {
            entry.count = 0;
        }
        entry.count = entry.count.saturating_add(1);
        entry.last = now;
        entry.count
    }
}

impl Default for Refusals {
    fn default() -> Self {
        let quota = Quota::per_minute(NonZeroU32::MIN).allow_burst(AT_ONCE);
        Self {
            counts: Arc::default(),
            entries: Arc::new(RateLimiter::direct(quota)),
        }
    }
}

/// 1, 3, 10, 30, 100 and so on.
fn is_kept(count: u32) -> bool {
    let mut power = 1_u32;
    while count > power * 3 && power < 100_000_000 {
        power *= 10;
    }
    count == power || count == power * 3
}

const AT_ONCE: NonZeroU32 = NonZeroU32::new(30).expect("thirty is not zero");
const FORGOTTEN_AFTER: i64 = 60 * 60 * 1000;
const MOST_KEYS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_first_and_then_ever_fewer() {
        let kept: Vec<u32> = (1..=1000).filter(|count| is_kept(*count)).collect();
        assert_eq!(kept, [1, 3, 10, 30, 100, 300, 1000]);
    }

    #[test]
    fn begins_anew_after_an_hour_and_apart_for_each_account_and_network() {
        let (refusals, ada) = (Refusals::default(), UserId::new("ada"));
        let address = Some(IpAddr::from([10, 0, 0, 1]));
        assert_eq!(refusals.count_at(Some(&ada), address, 0), 1);
        assert_eq!(refusals.count_at(Some(&ada), address, 1), 2);
        assert_eq!(refusals.count_at(None, address, 1), 1);
        assert_eq!(refusals.count_at(Some(&ada), None, 1), 1);
        assert_eq!(
            refusals.count_at(Some(&ada), address, 1 + FORGOTTEN_AFTER),
            1
        );
    }

    #[test]
    fn keeps_no_more_than_thirty_at_once_wherever_they_come_from() {
        let refusals = Refusals::default();
        let kept = (0..5000_u16).filter(|n| {
            let [a, b] = n.to_be_bytes();
            refusals
                .count(None, Some(IpAddr::from([10, 0, a, b])))
                .is_some()
        });
        assert_eq!(kept.count(), 30);
    }
}
