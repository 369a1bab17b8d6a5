//! How long a rotation takes, and when other nodes refuse the old token, while nothing is broken.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    after,
    agent::Ask,
    checker::{Token, Verdict, Watch},
    node::World,
    now, number, turn,
};

#[test]
fn a_rotation_returns_when_every_node_refuses_the_old_token() {
    let _turn = turn();
    let Some(mut world) = World::start(3, &[]) else {
        return;
    };
    let rounds = number("WST_NODES_ROTATIONS", 50);
    let (mut took, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let probe = Probe::begin(&world);
        thread::sleep(crate::random(Duration::from_millis(30)));
        let began = now();
        let new = world.rotate_on(0).unwrap();
        let returned = now();
        for (last_accepted, first_refused) in probe.end() {
            assert!(
                last_accepted <= returned,
                "an old token was accepted {:.1} ms after the return",
                after(last_accepted, returned)
            );
            refused.push(after(first_refused, returned));
        }
        took.push(after(returned, began));
        world.token = new;
    }
    println!("{rounds} rotations on three nodes, in ms");
    println!(
        "  rotate took                                          {}",
        Spread(took)
    );
    println!(
        "  first refusal on another node, from the return on    {}",
        Spread(refused)
    );
}

#[test]
fn a_checker_sees_an_old_token_that_is_accepted() {
    let _turn = turn();
    let Some(world) = World::start(1, &[]) else {
        return;
    };
    // Nothing was rotated, so what is asked with as if it were old is accepted all the time.
    let watch = Watch::begin(&world.addresses(), &world.workspace, &world.token);
    thread::sleep(Duration::from_millis(500));
    let checks = watch.end();
    assert!(checks.len() > 20);
    assert!(
        checks
            .iter()
            .all(|check| check.token == Token::Old && check.verdict == Verdict::Accepted)
    );
}

/// Asks the nodes that do not rotate, each with one connection and without a pause, until each has refused.
struct Probe {
    asking: Vec<thread::JoinHandle<()>>,
    seen: Arc<Mutex<Vec<(Duration, Duration)>>>,
    is_over: Arc<AtomicBool>,
}

impl Probe {
    fn begin(world: &World) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let asking = world.nodes[1..].iter().map(|node| {
            let mut agent = node.agent(&world.workspace, &world.token);
            // Known to the node before it begins.
            assert_eq!(agent.ask(Ask::List).unwrap().status, 200);
            let (seen, is_over) = (Arc::clone(&seen), Arc::clone(&is_over));
            thread::spawn(move || {
                let mut last_accepted = Duration::ZERO;
                while !is_over.load(Ordering::SeqCst) {
                    let sent = now();
                    match agent.ask(Ask::List).unwrap().status {
                        200 => last_accepted = sent,
                        401 => {
                            let refused = (last_accepted, now());
                            return seen.lock().unwrap().push(refused);
                        }
                        status => panic!("{status}"),
                    }
                }
            })
        });
        Self {
            asking: asking.collect(),
            seen: Arc::clone(&seen),
            is_over,
        }
    }

    /// Returns, for each node, when the last check was sent that was accepted, and when the first refusal came.
    fn end(self) -> Vec<(Duration, Duration)> {
        // One more question each is on its way, or will be; after two leases nobody waits for it any longer.
        let patience = now() + 2 * crate::LEASE;
        while self.asking.iter().any(|asking| !asking.is_finished()) && now() < patience {
            thread::sleep(Duration::from_micros(200));
        }
        self.is_over.store(true, Ordering::SeqCst);
        let expected = self.asking.len();
        for asking in self.asking {
            asking.join().unwrap();
        }
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        assert_eq!(seen.len(), expected, "each node refuses the old token");
        seen
    }
}

struct Spread(Vec<f64>);

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| sorted[((sorted.len() - 1) as f64 * part).round() as usize];
        let (low, p50, p99, high) = (at(0.0), at(0.5), at(0.99), at(1.0));
        write!(f, "min {low:.1}, p50 {p50:.1}, p99 {p99:.1}, max {high:.1}")
    }
}
