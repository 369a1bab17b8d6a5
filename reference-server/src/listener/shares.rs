//! [`Shares`]: how many of a listener's connections one source may have, so that none has all of them.
//!
//! Loopback and trusted proxies have no share: behind them are all clients together.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{http::client_address::TrustedProxy, rate::network};

/// Counts the open connections of each source. What is kept is as much as is open.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    open: Arc<Mutex<HashMap<IpAddr, u32>>>,
    most: NonZeroU32,
    exempt: Arc<[TrustedProxy]>,
}

/// A connection that is counted for its source while this is there.
#[derive(Debug)]
pub(super) struct Share {
    shares: Shares,
    /// None of those that have no share.
    source: Option<IpAddr>,
}

impl Shares {
    pub(crate) fn new(most: NonZeroU32, exempt: Arc<[TrustedProxy]>) -> Self {
        let open = Arc::default();
        Self { open, most, exempt }
    }

    /// Returns what the share of a source is if nothing is said, of so many connections: four sources
    /// that take all they can are needed to keep others out.
    pub(crate) fn of(connections: NonZeroU32) -> NonZeroU32 {
        NonZeroU32::new(connections.get() / 4).unwrap_or(NonZeroU32::MIN)
    }

    /// Counts a connection of `peer`; `None` is that its source has as many as it may.
    pub(super) fn take(&self, peer: IpAddr) -> Option<Share> {
        let peer = peer.to_canonical();
        let is_exempt = peer.is_loopback() || self.exempt.iter().any(|proxy| proxy.is(peer));
        let source = (!is_exempt).then(|| network(peer));
        if let Some(source) = source {
            let mut open = self.open();
            let count = open.entry(source).or_insert(0);
            if *count >= self.most.get() {
                return None;
            }
            *count += 1;
        }
        let shares = self.clone();
        Some(Share { shares, source })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        // Whole at any time: a panic in between has left nothing half-done.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(source) = self.source else { return };
        if let Entry::Occupied(mut open) = self.shares.open().entry(source) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(exempt: &[&str]) -> Shares {
        let exempt = exempt.iter().map(|proxy| proxy.parse().unwrap()).collect();
        Shares::new(NonZeroU32::new(2).unwrap(), exempt)
    }

    fn address(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    #[test]
    fn a_source_has_its_share_and_no_more_and_gets_it_back() {
        let shares = shares(&[]);
        let taken = [1, 2].map(|_| shares.take(address("192.0.2.1")).unwrap());
        // However the listener writes it.
        assert!(shares.take(address("192.0.2.1")).is_none());
        assert!(shares.take(address("::ffff:192.0.2.1")).is_none());
        assert!(shares.take(address("192.0.2.2")).is_some());
        drop(taken);
        assert!(shares.open().is_empty());
        assert!(shares.take(address("192.0.2.1")).is_some());
    }

    #[test]
    fn a_64_is_one_source() {
        let shares = shares(&[]);
        let _taken = ["2001:db8::1", "2001:db8::2"].map(|one| shares.take(address(one)).unwrap());
        assert!(shares.take(address("2001:db8::3")).is_none());
        assert!(shares.take(address("2001:db8:0:1::3")).is_some());
    }

    #[test]
    fn loopback_and_trusted_proxies_have_no_share() {
        let shares = shares(&["10.0.0.0/8"]);
        for exempt in ["127.0.0.1", "::1", "10.1.2.3", "::ffff:10.1.2.3"] {
            let taken = [1, 2, 3].map(|_| shares.take(address(exempt)));
            assert!(taken.iter().all(Option::is_some), "{exempt}");
        }
        assert!(shares.open().is_empty());
    }

    #[test]
    fn the_share_is_a_quarter_and_at_least_one() {
        let share = |connections| Shares::of(NonZeroU32::new(connections).unwrap()).get();
        assert_eq!((share(16_384), share(3)), (4096, 1));
    }
}
