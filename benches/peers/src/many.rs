//! Warm checks among 1, 10,000 and 1,000,000 live tokens, in random order.

use std::rc::Rc;

use peers_report::results::{Group, ManyRow};

use crate::{
    inner::Handler,
    lane::{Entry, ServiceLane},
    lanes::ours,
    race::{Bounds, race},
    token::{Resident, World, authority},
};

/// How many tokens are live, from few to many.
pub const SIZES: [usize; 3] = [1, 10_000, 1_000_000];

/// Measures with each number of tokens up to `most`.
pub fn measure(world: &World, most: usize, bounds: Bounds) -> Vec<ManyRow> {
    let sizes: Vec<usize> = SIZES.into_iter().filter(|&size| size <= most).collect();
    let mut entries: Vec<Entry> = sizes.iter().flat_map(|&size| pair(world, size)).collect();
    let outcome = race(&mut entries, bounds);
    let protected = outcome.lanes.iter().skip(1).step_by(2);
    sizes
        .iter()
        .zip(protected)
        .map(|(&tokens, times)| ManyRow {
            tokens,
            added_ns: times.added,
        })
        .collect()
}

/// Returns the bare lane and ours, for requests with `size` different tokens.
fn pair(world: &World, size: usize) -> [Entry; 2] {
    let checker = authority(Default::default(), &world.keys);
    let residents = Rc::new(world.tokens_of_many(&checker, size));
    let service = ours::by_host(&checker, ours::handler());
    ours::warm_up(world, &service, &residents);
    let requests = move || Resident::request(&residents[fastrand::usize(..residents.len())]);
    let (bare, lane) = (
        ServiceLane::warm(Handler::open(), requests.clone()),
        ServiceLane::warm(service, requests),
    );
    let (bare_id, id) = (format!("bare-of-{size}"), format!("ours-of-{size}"));
    [
        Entry::new(&bare_id, Group::Gauge, "no layer", bare),
        Entry::new(&id, Group::Remembered, "ours", lane).against(&bare_id),
    ]
}
