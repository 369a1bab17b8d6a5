//! [`Rate`]: how often something may happen for each key, in a memory that does not grow.
//!
//! Keys are strangers' to choose, so there is no entry for each of them. A key has a cell in each of two rows,
//! found by a hash that nobody outside can know, and is refused if both cells refuse. With n keys that are all
//! at their limit, another one is refused beside them with a chance of (1 - e^(-n / cells))²: with a tenth as
//! many as there are cells one in 110. Rows are made when something is counted for the first time.
//!
//! Each server counts what comes to it: where several share a database, somebody who reaches all of them has
//! as many times the rate. Nothing that has to hold to the one is decided by it.

use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    marker::PhantomData,
    net::IpAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::OnceLock,
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
    state::{InMemoryState, NotKeyed, StateStore},
};

/// Counts events by key.
#[derive(Debug)]
pub(crate) struct Rate<K: Hash + Eq + Clone> {
    rows: [RateLimiter<K, Cells<K>, DefaultClock>; 2],
}

/// A row of cells, one of which is a key's.
#[derive(Debug)]
struct Cells<K> {
    cells: OnceLock<Box<[InMemoryState]>>,
    count: usize,
    hasher: RandomState,
    key: PhantomData<fn(&K)>,
}

impl<K: Hash + Eq + Clone> Rate<K> {
    /// Allows `burst` events at once, and one more in each `refill`, which is not zero; `cells` of eight bytes
    /// are in a row.
    pub(crate) fn new(burst: NonZeroU32, refill: Duration, cells: NonZeroUsize) -> Self {
        let quota = Quota::with_period(refill).unwrap_or(Quota::per_minute(NonZeroU32::MIN));
        let quota = quota.allow_burst(burst);
        let row = || RateLimiter::new(quota, Cells::new(cells), DefaultClock::default());
        Self {
            rows: [row(), row()],
        }
    }

    /// Counts an event.
    ///
    /// # Errors
    /// There were too many; after this time there may be one more.
    pub(crate) fn count(&self, key: &K) -> Result<(), Duration> {
        let waits = self.rows.each_ref().map(|row| {
            let refused = row.check_key(key).err()?;
            Some(refused.wait_time_from(DefaultClock::default().now()))
        });
        match waits {
            [Some(one), Some(other)] => Err(one.min(other)),
            _ => Ok(()),
        }
    }
}

impl<K> Cells<K> {
    fn new(count: NonZeroUsize) -> Self {
        Self {
            cells: OnceLock::new(),
            count: count.get(),
            hasher: RandomState::new(),
            key: PhantomData,
        }
    }
}

impl<K: Hash> StateStore for Cells<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, measure: F) -> Result<T, E>
    where
        F: Fn(Option<governor::nanos::Nanos>) -> Result<(T, governor::nanos::Nanos), E>,
    {
        let empty = || (0..self.count).map(|_| InMemoryState::default()).collect();
        let cells = self.cells.get_or_init(empty);
        let cell = (self.hasher.hash_one(key) % cells.len() as u64) as usize;
        cells[cell].measure_and_replace(&NotKeyed::NonKey, measure)
    }
}

/// Returns what counts as one source: an IPv6 client has a whole /64 to itself.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

/// Returns how many whole seconds are enough to wait.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELLS: usize = 8192;

    fn three_a_day() -> Rate<u64> {
        let day = Duration::from_secs(24 * 60 * 60);
        let cells = NonZeroUsize::new(CELLS).unwrap();
        Rate::new(NonZeroU32::new(3).unwrap(), day, cells)
    }

    #[test]
    fn each_key_has_a_quota_of_its_own_and_is_told_how_long_to_wait() {
        let rate = three_a_day();
        // So few that none finds both of its cells taken but one time in a hundred thousand.
        for key in 0..10 {
            for _ in 0..3 {
                rate.count(&key).unwrap();
            }
        }
        for key in 0..10 {
            let wait = rate.count(&key).unwrap_err();
            assert!(wait > Duration::from_secs(23 * 60 * 60), "{wait:?}");
        }
    }

    #[test]
    fn a_million_keys_end_in_a_common_quota() {
        let rate = three_a_day();
        let admitted = (0..1_000_000u64).filter(|key| rate.count(key).is_ok());
        // Each cell allows three, so the rows together allow no more than this.
        assert!(admitted.count() <= 2 * 3 * CELLS);
    }

    #[test]
    fn an_ipv6_network_is_one_source() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
    }
}
