//! What breaks while a token is rotated, and what has to hold of the answers all the same.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustix::process::Signal;

use crate::{
    LEASE, after,
    checker::{Check, Token, Verdict, Watch},
    cluster::Admin,
    namespace::Loss,
    node::World,
    now, number,
    proxy::Network,
    random, sleep, turn,
};

/// What happens to the second node, or to all, while the first one rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    AllConnectionsEnded,
    /// What the database answers is dropped, and what it is asked arrives.
    AnswersDropped,
    DatabaseGone,
    DatabaseKilled,
    DatabaseRestarted,
    /// The connection that listens is ended again and again, so that hardly a notification arrives.
    FeedCutAgainAndAgain,
    FeedEnded,
    /// The connection that listens is gone for longer than others take a node for there, and the others go on.
    FeedGone,
    /// SIGSTOP, for longer than the lease.
    Frozen,
    /// The same for longer than others take a node for there.
    FrozenForLong,
    NetworkCut,
    NetworkHeld,
    NetworkSlow,
    NetworkSwallows,
    Nothing,
    /// All packets vanish, and no end is told.
    PacketsDropped,
    /// The same for longer than others take a node for there.
    PacketsDroppedForLong,
    /// Four packets in ten vanish, by chance.
    PacketsLost,
    /// What the database is asked is dropped.
    QuestionsDropped,
    /// kill -9 for the node that rotates, as soon as its commit can be seen.
    RotatorKilled,
    /// The same while all packets of the second node vanish.
    RotatorKilledPacketsDropped,
    /// The same while nothing that the second node is sent arrives.
    RotatorKilledUnheard,
}

/// When it was: no instant of it is outside of these.
struct Faulty {
    begun: Duration,
    ended: Duration,
}

/// When the old token ended.
struct Rotated {
    /// When the commit was seen, so it was no later.
    committed: Duration,
    /// When somebody was told that no node accepts the old token.
    returned: Duration,
    new: String,
}

/// What rounds with the same fault came to.
#[derive(Default)]
struct Tally {
    rounds: usize,
    checks: usize,
    unavailable: usize,
    latest: Option<[f64; 2]>,
    healed: f64,
    took: f64,
}

#[test]
fn whatever_breaks_no_node_accepts_an_old_token_or_rejects_a_new_one() {
    let _turn = turn();
    if let Some(world) = World::start(3, &[]) {
        in_turn(world, &Fault::ALL, Fault::FrozenForLong);
    }
}

#[test]
fn whatever_packets_are_lost_no_node_accepts_an_old_token_or_rejects_a_new_one() {
    let _turn = turn();
    if let Some(world) = World::start_with_namespace() {
        in_turn(world, &Fault::OF_PACKETS, Fault::PacketsDroppedForLong);
    }
}

/// Has all faults happen at least once, and `slow` too if there is time.
fn in_turn(mut world: World, faults: &[Fault], slow: Fault) {
    let seed = number("SEED", fastrand::u64(..));
    fastrand::seed(seed);
    println!("seed {seed}");
    let seconds = Duration::from_secs(number("WST_NODES_SECONDS", 30));
    let mut faults = faults.to_vec();
    if seconds >= Duration::from_secs(120) {
        faults.push(slow);
    }
    let mut tallies: BTreeMap<Fault, Tally> = BTreeMap::new();
    let start = now();
    loop {
        fastrand::shuffle(&mut faults);
        for &fault in &faults {
            let tally = tallies.entry(fault).or_default();
            round(&mut world, fault, tally);
        }
        if now() - start >= seconds {
            break;
        }
    }
    println!(
        "{:24} rounds  checks    503  rotate took   old token accepted last, from     the new one accepted",
        "ms"
    );
    println!("{:60} the commit  the return   everywhere after", "");
    for (fault, tally) in tallies {
        let [commit, returned] = tally.latest.unwrap_or([f64::NAN; 2]);
        println!(
            "{:24} {:6} {:7} {:6} {:12.0} {:13.1} {:11.1} {:18.0}",
            format!("{fault:?}"),
            tally.rounds,
            tally.checks,
            tally.unavailable,
            tally.took,
            commit,
            returned,
            tally.healed,
        );
    }
}

/// Breaks something, rotates meanwhile, and judges what was answered.
fn round(world: &mut World, fault: Fault, tally: &mut Tally) {
    world.until_all_accept(&world.token);
    let watch = Watch::begin(&world.addresses(), &world.workspace, &world.token);
    sleep(Duration::from_millis(100) + random(Duration::from_millis(200)));
    let (rotated, faulty, began) = thread::scope(|scope| {
        let breaking = scope.spawn(|| fault.happen(world));
        // At any time of it, and sometimes right before; every other time while memory may still be trusted.
        let most = fault.lasts() - fault.first();
        let most = if fastrand::bool() {
            most
        } else {
            most.min(LEASE)
        };
        sleep(fault.first() + random(most));
        let began = now();
        let rotated = fault.rotate(world);
        watch.show(&rotated.new);
        (rotated, breaking.join().unwrap(), began)
    });
    let new = rotated.new.clone();
    world.until_all_accept(&new);
    let healed = now();
    sleep(Duration::from_millis(300));
    let checks = watch.end();
    world.token = new;

    let judge = Judge {
        fault,
        rotated,
        faulty,
        checks,
    };
    judge.judge();
    tally.rounds += 1;
    tally.checks += judge.checks.len();
    tally.unavailable += judge.count(Verdict::Unavailable);
    tally.took = tally.took.max(after(judge.rotated.returned, began));
    let over = judge.faulty.ended.max(judge.rotated.returned);
    tally.healed = tally.healed.max(after(healed, over));
    let old = judge.accepted(Token::Old).map(|check| {
        let ends = [judge.rotated.committed, judge.rotated.returned];
        ends.map(|end| after(check.sent, end))
    });
    for [commit, returned] in old {
        let latest = tally.latest.get_or_insert([commit, returned]);
        *latest = [latest[0].max(commit), latest[1].max(returned)];
    }
}

struct Judge {
    fault: Fault,
    rotated: Rotated,
    faulty: Faulty,
    checks: Vec<Check>,
}

impl Judge {
    fn judge(&self) {
        let Rotated {
            committed,
            returned,
            ..
        } = self.rotated;
        for check in self.accepted(Token::Old) {
            // It was checked no earlier than it was sent.
            self.assert(
                check.sent <= returned,
                "an old token after the return",
                check,
            );
            self.assert(
                check.sent <= committed + LEASE,
                "an old token a lease after the commit",
                check,
            );
        }
        for check in self.of(Token::New) {
            let is_refused = check.verdict == Verdict::Refused;
            self.assert(!is_refused, "the new token was refused", check);
        }
        for check in &self.checks {
            let is_without = self.fault.is_without_database(check.node)
                && check.sent > self.faulty.begun + LEASE
                && check.came < self.faulty.ended;
            let is_accepted = check.verdict == Verdict::Accepted;
            self.assert(
                !(is_without && is_accepted),
                "a token on a node without the database",
                check,
            );
            let is_answered = !matches!(check.verdict, Verdict::Silent | Verdict::Unavailable);
            self.assert(
                self.fault.may_be_unavailable(check.node) || is_answered,
                "no answer of a node that nothing happened to",
                check,
            );
        }
    }

    #[track_caller]
    fn assert(&self, holds: bool, what: &str, check: &Check) {
        let Rotated {
            committed,
            returned,
            ..
        } = self.rotated;
        assert!(
            holds,
            "{:?}: {what}: sent {:.1} ms after the commit, {:.1} ms after the return, fault from {:.1} to {:.1} ms: {check:?}",
            self.fault,
            after(check.sent, committed),
            after(check.sent, returned),
            after(self.faulty.begun, committed),
            after(self.faulty.ended, committed),
        );
    }

    fn of(&self, token: Token) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(move |check| check.token == token)
    }

    fn accepted(&self, token: Token) -> impl Iterator<Item = &Check> {
        self.of(token)
            .filter(|check| check.verdict == Verdict::Accepted)
    }

    fn count(&self, verdict: Verdict) -> usize {
        let counted = self.checks.iter().filter(|check| check.verdict == verdict);
        counted.count()
    }
}

impl Fault {
    const ALL: [Self; 15] = [
        Self::AllConnectionsEnded,
        Self::DatabaseGone,
        Self::DatabaseKilled,
        Self::DatabaseRestarted,
        Self::FeedCutAgainAndAgain,
        Self::FeedEnded,
        Self::FeedGone,
        Self::Frozen,
        Self::NetworkCut,
        Self::NetworkHeld,
        Self::NetworkSlow,
        Self::NetworkSwallows,
        Self::Nothing,
        Self::RotatorKilled,
        Self::RotatorKilledUnheard,
    ];

    /// Those that need a namespace.
    const OF_PACKETS: [Self; 5] = [
        Self::AnswersDropped,
        Self::PacketsDropped,
        Self::PacketsLost,
        Self::QuestionsDropped,
        Self::RotatorKilledPacketsDropped,
    ];

    /// Returns how long it lasts.
    fn lasts(self) -> Duration {
        let millis = match self {
            Self::AllConnectionsEnded | Self::FeedEnded | Self::Nothing => 100,
            Self::DatabaseKilled | Self::DatabaseRestarted | Self::RotatorKilled => 200,
            Self::DatabaseGone => 2500,
            Self::FeedCutAgainAndAgain | Self::Frozen => 1500,
            Self::FeedGone | Self::FrozenForLong | Self::PacketsDroppedForLong => 14_000,
            Self::NetworkCut | Self::NetworkSlow => 2000,
            Self::NetworkHeld | Self::NetworkSwallows => 3000,
            Self::AnswersDropped | Self::PacketsDropped | Self::QuestionsDropped => 3000,
            Self::PacketsLost => 4000,
            Self::RotatorKilledPacketsDropped | Self::RotatorKilledUnheard => 2000,
        };
        Duration::from_millis(millis)
    }

    /// Returns how long it has lasted at least when the rotation begins.
    fn first(self) -> Duration {
        match self {
            // The others have taken the node out of their table.
            Self::FeedGone => Duration::from_millis(12_500),
            _ => Duration::ZERO,
        }
    }

    /// Begins and ends.
    fn happen(self, world: &World) -> Faulty {
        let victim = &world.nodes[1];
        let before = now();
        match self {
            Self::AllConnectionsEnded => {
                sleep(random(self.lasts()));
                assert!(world.admin().cut(&victim.name, false) > 0);
            }
            Self::DatabaseGone | Self::DatabaseKilled | Self::DatabaseRestarted => {
                let mut cluster = world.cluster();
                cluster.stop(self != Self::DatabaseKilled);
                let begun = now();
                if self == Self::DatabaseGone {
                    sleep(self.lasts());
                }
                let ended = now();
                cluster.run();
                return Faulty { begun, ended };
            }
            Self::FeedCutAgainAndAgain => {
                let admin = world.admin();
                let mut ended = 0;
                while now() - before < self.lasts() {
                    ended += admin.cut(&victim.name, true);
                    sleep(Duration::from_millis(20));
                }
                assert!(ended > 1, "{ended}");
            }
            Self::FeedEnded => {
                sleep(random(self.lasts()));
                assert!(world.admin().cut(&victim.name, true) > 0);
            }
            Self::FeedGone => {
                victim.proxy().set(Network::Full);
                assert!(world.admin().cut(&victim.name, true) > 0);
                sleep(self.lasts());
                victim.proxy().set(Network::Well);
            }
            Self::Frozen | Self::FrozenForLong => {
                victim.signal(Signal::STOP);
                sleep(self.lasts());
                victim.signal(Signal::CONT);
            }
            Self::NetworkCut => return self.break_network(world, Network::Cut),
            Self::NetworkHeld | Self::RotatorKilledUnheard => {
                return self.break_network(world, Network::Held);
            }
            Self::NetworkSlow => {
                let slow = Network::Slow(Duration::from_millis(150));
                return self.break_network(world, slow);
            }
            Self::NetworkSwallows => return self.break_network(world, Network::Swallowed),
            Self::AnswersDropped => {
                let received = 1.0;
                return self.drop_packets(
                    world,
                    Loss {
                        received,
                        ..Loss::NONE
                    },
                );
            }
            Self::PacketsDropped
            | Self::PacketsDroppedForLong
            | Self::RotatorKilledPacketsDropped => {
                return self.drop_packets(world, Loss::both(1.0));
            }
            Self::PacketsLost => return self.drop_packets(world, Loss::both(0.4)),
            Self::QuestionsDropped => {
                let sent = 1.0;
                return self.drop_packets(world, Loss { sent, ..Loss::NONE });
            }
            Self::Nothing | Self::RotatorKilled => {}
        }
        Faulty {
            begun: before,
            ended: now(),
        }
    }

    fn break_network(self, world: &World, network: Network) -> Faulty {
        let proxy = world.nodes[1].proxy();
        proxy.set(network);
        let begun = now();
        sleep(self.lasts());
        let ended = now();
        proxy.set(Network::Well);
        Faulty { begun, ended }
    }

    fn drop_packets(self, world: &World, loss: Loss) -> Faulty {
        let namespace = world.nodes[1].namespace();
        let before = namespace.sent_again();
        namespace.drop_packets(world.database, loss);
        let begun = now();
        sleep(self.lasts());
        let ended = now();
        namespace.drop_packets(world.database, Loss::NONE);
        // Else nothing was lost, and whatever held shows nothing.
        assert!(namespace.sent_again() > before, "{self:?}");
        Faulty { begun, ended }
    }

    /// Rotates, again and again if the database is not there, and finds out when it was committed first.
    fn rotate(self, world: &World) -> Rotated {
        let before = generation(world);
        let is_over = AtomicBool::new(false);
        let is_killed = matches!(
            self,
            Self::RotatorKilled | Self::RotatorKilledPacketsDropped | Self::RotatorKilledUnheard
        );
        thread::scope(|scope| {
            let committing = scope.spawn(|| {
                let committed = until_above(world, before, &is_over);
                if is_killed {
                    world.nodes[0].kill();
                }
                committed
            });
            let mut rotated = world.rotate_on(0);
            let mut returned = now();
            if is_killed {
                // Whether it was answered is chance, and whoever was not answered rotates again, elsewhere.
                let committed = committing.join().unwrap();
                sleep(random(Duration::from_millis(1500)));
                rotated = rotate_for_sure(world, 2);
                returned = now();
                world.nodes[0].serve();
                return Rotated {
                    committed: committed.unwrap(),
                    returned,
                    new: rotated.unwrap(),
                };
            }
            if rotated.is_err() {
                rotated = rotate_for_sure(world, 0);
                returned = now();
            }
            is_over.store(true, Ordering::SeqCst);
            // Nobody is told before it is committed.
            let committed = committing.join().unwrap().unwrap_or(returned);
            Rotated {
                committed: committed.min(returned),
                returned,
                new: rotated.unwrap(),
            }
        })
    }

    /// Whether a node cannot reach the database while it lasts.
    fn is_without_database(self, node: usize) -> bool {
        match self {
            Self::DatabaseGone => true,
            Self::AnswersDropped
            | Self::NetworkCut
            | Self::NetworkHeld
            | Self::NetworkSwallows
            | Self::PacketsDropped
            | Self::PacketsDroppedForLong
            | Self::QuestionsDropped
            | Self::RotatorKilledPacketsDropped
            | Self::RotatorKilledUnheard => node == 1,
            _ => false,
        }
    }

    fn may_be_unavailable(self, node: usize) -> bool {
        match self {
            Self::DatabaseGone | Self::DatabaseKilled | Self::DatabaseRestarted => true,
            Self::Nothing => false,
            Self::RotatorKilled => node == 0,
            Self::RotatorKilledPacketsDropped | Self::RotatorKilledUnheard => node < 2,
            _ => node == 1,
        }
    }
}

fn rotate_for_sure(world: &World, node: usize) -> Result<String, String> {
    let start = now();
    loop {
        let rotated = world.rotate_on(node);
        if rotated.is_ok() || now() - start > Duration::from_secs(30) {
            return rotated;
        }
        sleep(Duration::from_millis(20));
    }
}

/// Returns the generation that the old token has.
fn generation(world: &World) -> i64 {
    // Anybody can read the claims.
    let claims = world.token.split('.').nth(1).unwrap();
    let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["gen"].as_i64().unwrap()
}

/// Waits until a later generation is committed, and returns when that was seen.
fn until_above(world: &World, generation: i64, is_over: &AtomicBool) -> Option<Duration> {
    let mut admin = None;
    while !is_over.load(Ordering::SeqCst) {
        let Some(asking) = &admin else {
            admin = Admin::connect(world.database);
            continue;
        };
        match asking.generation(&world.workspace) {
            Some(seen) if seen > generation => return Some(now()),
            Some(_) => sleep(Duration::from_micros(300)),
            None => admin = None,
        }
    }
    None
}
