//! The race: every lane once in every round, in an order drawn anew, each compared with its base of the same round.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use peers_report::results::{Estimate, NotRaced};

use crate::{lane::Entry, stats::median};

/// How many requests a lane serves untimed in each round, so that its code is in the caches.
const WARM_UP: usize = 32;

/// How long the race may last.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// No round is begun after this.
    pub time: Duration,
    /// Nor after as many.
    pub rounds: usize,
}

/// What the race came to, in the order of the entries.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How many rounds there were.
    pub rounds: usize,
    /// Nanoseconds for a request, and those beyond the base's.
    pub lanes: Vec<Times>,
}

/// What one lane came to.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Nanoseconds for a request.
    pub whole: Estimate,
    /// Nanoseconds beyond those of the base; the whole without one.
    pub added: Estimate,
}

/// Takes out the entries that do not do what they are raced for, and those compared with them.
pub fn keep_sound(entries: &mut Vec<Entry>, foreign: &str) -> Vec<NotRaced> {
    let mut failures = Vec::new();
    entries.retain_mut(|entry| match entry.check(foreign) {
        Ok(()) => true,
        Err(reason) => {
            let label = entry.label.clone();
            failures.push(NotRaced { label, reason });
            false
        }
    });
    let ids: Vec<String> = entries.iter().map(|entry| entry.id.clone()).collect();
    entries.retain(|entry| match &entry.base {
        Some(base) if !ids.contains(base) => {
            failures.push(NotRaced {
                label: entry.label.clone(),
                reason: format!("nor was `{base}`, which it is compared with"),
            });
            false
        }
        _ => true,
    });
    failures
}

/// Runs the race.
///
/// # Panics
/// A lane admits what it has to refuse, or refuses what it has to admit.
pub fn race(entries: &mut [Entry], bounds: Bounds) -> Outcome {
    let bases = bases(entries);
    let mut times = vec![Vec::new(); entries.len()];
    let mut order: Vec<usize> = (0..entries.len()).collect();
    let started = Instant::now();
    let mut rounds = 0;
    while rounds == 0 || (rounds < bounds.rounds && started.elapsed() < bounds.time) {
        fastrand::shuffle(&mut order);
        for &lane in &order {
            times[lane].push(time(&mut entries[lane]));
        }
        rounds += 1;
    }
    let lanes = times.iter().zip(bases).map(|(whole, base)| Times {
        whole: median(whole.clone()),
        added: match base {
            None => median(whole.clone()),
            Some(base) => {
                let pairs = whole.iter().zip(&times[base]);
                median(pairs.map(|(lane, base)| lane - base).collect())
            }
        },
    });
    Outcome {
        rounds,
        lanes: lanes.collect(),
    }
}

/// Returns the nanoseconds for one request of a batch.
fn time(entry: &mut Entry) -> f64 {
    entry.lane.prepare(WARM_UP.min(entry.batch));
    entry.lane.run();
    entry.lane.prepare(entry.batch);
    let sample = entry.lane.run();
    assert!(
        entry.is_sound(&sample, entry.batch),
        "{}: {sample:?}",
        entry.id
    );
    sample.elapsed.as_nanos() as f64 / entry.batch as f64
}

fn bases(entries: &[Entry]) -> Vec<Option<usize>> {
    let places: HashMap<&str, usize> = entries
        .iter()
        .enumerate()
        .map(|(place, entry)| (entry.id.as_str(), place))
        .collect();
    let place_of = |base: &String| places.get(base.as_str()).copied();
    entries
        .iter()
        .map(|entry| entry.base.as_ref().and_then(place_of))
        .collect()
}

#[cfg(test)]
mod tests {
    use peers_report::results::Group;

    use super::*;
    use crate::{inner::Handler, lane::ServiceLane, request, token::WORKSPACE};

    fn entry(id: &str, base: Option<&str>) -> Entry {
        let requests = || request::bearer(WORKSPACE, "a-token-that-is-long-enough-to-forge");
        let lane = ServiceLane::warm(Handler::open(), requests);
        let entry = Entry::new(id, Group::Gauge, id, lane).unprotected();
        match base {
            None => entry,
            Some(base) => entry.against(base),
        }
    }

    #[test]
    fn a_lane_goes_with_the_lane_that_it_is_compared_with() {
        let mut entries = vec![
            entry("sound", None),
            entry("broken", None).refusing(),
            entry("dependent", Some("broken")),
        ];
        let failures = keep_sound(&mut entries, "foreign");
        let labels: Vec<&str> = failures.iter().map(|failed| &failed.label[..]).collect();
        assert_eq!(labels, ["broken", "dependent"]);
        assert_eq!(entries.len(), 1);
    }

    #[test]
    fn rounds_are_bounded_and_every_lane_is_in_each() {
        let mut entries = vec![entry("bare", None), entry("other", Some("bare"))];
        let bounds = Bounds {
            time: Duration::from_secs(60),
            rounds: 3,
        };
        let outcome = race(&mut entries, bounds);
        assert_eq!((outcome.rounds, outcome.lanes.len()), (3, 2));
        let [bare, other] = outcome.lanes[..] else {
            panic!("there are two")
        };
        assert_eq!(
            bare.added, bare.whole,
            "without a base a time stands for itself"
        );
        assert!(other.added.median < other.whole.median);
    }
}
