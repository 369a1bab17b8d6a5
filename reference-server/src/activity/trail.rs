//! Uses of tokens that were genuine once and were refused: whoever still has them is to be found.
//!
//! Counted in memory and written once a second at most, whatever the number of requests. Only a token
//! with a right MAC leaves a trace, so that strangers cannot fill the table.

use std::{collections::HashMap, net::IpAddr};

use tower_workspace_token::id::SlotKey;

use super::Client;

/// What was refused since the last flush.
#[derive(Debug, Default)]
pub(super) struct Trail {
    counted: HashMap<Attempt, Times>,
}

/// What was tried, by whom and from where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    pub(super) key: SlotKey,
    pub(super) generation: u64,
    pub(super) address: Option<IpAddr>,
    /// What the client calls itself in HTTP.
    pub(super) agent: Client,
}

/// How often, and when: milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) times: u64,
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Trail {
    pub(super) fn note(&mut self, attempt: Attempt, now: i64) {
        let once = Times {
            times: 1,
            first: now,
            last: now,
        };
        self.add(attempt, once);
    }

    pub(super) fn add(&mut self, mut attempt: Attempt, more: Times) {
        if self.counted.len() >= MAX_ATTEMPTS && !self.counted.contains_key(&attempt) {
            attempt = attempt.elsewhere();
        }
        let add = |known: &mut Times| {
            known.times += more.times;
            known.first = known.first.min(more.first);
            known.last = known.last.max(more.last);
        };
        self.counted.entry(attempt).and_modify(add).or_insert(more);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counted.is_empty()
    }

    pub(super) fn take(&mut self) -> Vec<(Attempt, Times)> {
        std::mem::take(&mut self.counted).into_iter().collect()
    }
}

impl Attempt {
    /// The same token, from anywhere: what is counted when there are too many places to tell apart.
    pub(super) fn elsewhere(self) -> Self {
        Self {
            address: None,
            agent: Client::default(),
            ..self
        }
    }
}

/// How many attempts are told apart between two flushes.
const MAX_ATTEMPTS: usize = 1024;

#[cfg(test)]
mod tests {
    use tower_workspace_token::TokenName;

    use super::*;

    fn attempt(number: u32) -> Attempt {
        Attempt {
            key: SlotKey::new("acme".parse().unwrap(), TokenName::primary()),
            generation: 1,
            address: Some(IpAddr::from(number.to_be_bytes())),
            agent: Client::new("mine", "1"),
        }
    }

    #[test]
    fn counts_what_is_alike_and_keeps_the_first_and_last_time() {
        let mut trail = Trail::default();
        trail.note(attempt(1), 10);
        trail.note(attempt(1), 20);
        let taken = trail.take();
        let times = Times {
            times: 2,
            first: 10,
            last: 20,
        };
        assert_eq!(taken, [(attempt(1), times)]);
        assert!(trail.is_empty());
    }

    #[test]
    fn a_flood_from_everywhere_is_counted_in_bounded_memory() {
        let (mut trail, flood) = (Trail::default(), 3 * MAX_ATTEMPTS);
        for number in 0..u32::try_from(flood).unwrap() {
            trail.note(attempt(number), 0);
        }
        let taken = trail.take();
        assert_eq!(taken.len(), MAX_ATTEMPTS + 1);
        let total: u64 = taken.iter().map(|(_, times)| times.times).sum();
        assert_eq!(total, flood as u64);
    }
}
