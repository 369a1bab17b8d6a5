//! Whether what strangers may send can be told apart by how long its refusal takes.
//!
//! ```sh
//! cargo bench --features full --bench timing
//! TIMING_SAMPLES=1000000 cargo bench --features full --bench timing
//! ```
//!
//! As dudect does it (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?", 2017): two inputs, one
//! of which is drawn at random for each sample, and Welch's t-test between their times; also of the fastest
//! parts of the samples alone, since what is slow is somebody else's doing. |t| from 4.5 on is a difference.
//! Nothing here passes or fails by a clock: the figures are printed. Run it on a machine that is quiet.
//!
//! Three parts: comparisons of secrets; refusals that have to look alike; and pairs that do differ, with what
//! their difference tells. The first pair of all is the control, a comparison that leaks.

#![expect(
    clippy::disallowed_methods,
    reason = "measures times, which nothing is decided by"
)]

mod common;

use std::{cell::RefCell, hint::black_box, pin::pin, time::Instant};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ctutils::CtEq;
use tower_workspace_token::{TokenAuthority, TokenName, WorkspaceId, token::PresentedToken};

use common::{Fixture, WORKSPACE, at_once};

/// From here on the times of two inputs differ.
const DIFFERENT: f64 = 4.5;

/// The parts of the samples that are looked at, the fastest first.
const PARTS: [f64; 6] = [0.5, 0.75, 0.9, 0.95, 0.99, 1.0];

fn main() {
    let samples = std::env::var("TIMING_SAMPLES").ok();
    let samples = samples.and_then(|text| text.parse().ok());
    let bench = Bench {
        samples: samples.unwrap_or(200_000),
    };
    println!(
        "{} samples a pair; |t| of all samples and, the largest, of parts of them",
        bench.samples
    );
    comparisons(&bench);
    let world = World::new();
    refusals(&bench, &world);
    differences(&bench, &world);
}

fn comparisons(bench: &Bench) {
    println!("\ncomparisons of what differs in its first and in its last byte");
    let secret: [u8; 240] = std::array::from_fn(|byte| b'0' + (byte % 64) as u8);
    let changed = |at: usize| {
        let mut other = secret;
        other[at] ^= 1;
        other
    };
    let inputs = [changed(0), changed(secret.len() - 1)];
    // Each sample compares often: one comparison takes less than reading the clock.
    let often = |compare: &dyn Fn(&[u8; 240]) -> bool, input: &[u8; 240]| {
        for _ in 0..32 {
            black_box(compare(black_box(input)));
        }
    };
    let leaks = |other: &[u8; 240]| secret.iter().zip(other).all(|(one, other)| one == other);
    let whole = |other: &[u8; 240]| secret.ct_eq(other).to_bool();
    let mac = *secret.first_chunk::<32>().expect("as long");
    bench.pair("control: stops at the first difference", |which| {
        often(&leaks, &inputs[which]);
    });
    bench.pair(
        "a whole token, as it is compared with the sealed one",
        |which| {
            often(&whole, &inputs[which]);
        },
    );
    let macs = [changed(0), changed(31)].map(|input| *input.first_chunk::<32>().expect("as long"));
    bench.pair("a MAC", |which| {
        for _ in 0..32 {
            black_box(mac.ct_eq(black_box(&macs[which])).to_bool());
        }
    });
}

fn refusals(bench: &Bench, world: &World) {
    println!("\nrefusals that are to look alike, of checks as a whole");
    let [known, unknown, revoked] = [WORKSPACE, UNKNOWN, REVOKED];
    let forged = |workspace| world.forged(workspace);
    let garbage = "x".repeat(world.token.len());
    let wrong_at = |at: usize| {
        let mut token = world.token.clone().into_bytes();
        // Of the last character only the upper bits count.
        token[at] = if token[at] == b'Q' { b'g' } else { b'Q' };
        String::from_utf8(token).expect("ASCII")
    };
    let signature = world.token.rfind('.').expect("three parts") + 1;
    let last = world.token.len() - 1;
    world.pair(
        bench,
        "a live token whose MAC differs in its first, in its last character",
        [(known, wrong_at(signature)), (known, wrong_at(last))],
    );
    world.pair(
        bench,
        "a live token that differs in its first, in its last character after the header",
        [(known, wrong_at(world.payload)), (known, wrong_at(last))],
    );
    world.pair(
        bench,
        "a forged token of a workspace that there is, that there is not",
        [(known, forged(known)), (unknown, forged(unknown))],
    );
    world.pair(
        bench,
        "a forged token of a live workspace, of a revoked one",
        [(known, forged(known)), (revoked, forged(revoked))],
    );
    world.pair(
        bench,
        "garbage at a workspace that there is, that there is not",
        [(known, garbage.clone()), (unknown, garbage.clone())],
    );
    world.pair(
        bench,
        "a former token of a slot that was rotated, that was revoked",
        [
            (ROTATED, world.rotated.clone()),
            (revoked, world.revoked.clone()),
        ],
    );
}

fn differences(bench: &Bench, world: &World) {
    println!("\npairs that differ, and whose difference tells what their sender knew");
    let known = WORKSPACE;
    world.pair(
        bench,
        "garbage, a forged token: whether the public header is right",
        [
            (known, "x".repeat(world.token.len())),
            (known, world.forged(known)),
        ],
    );
    world.pair(
        bench,
        "a forged token, a former one: whether the MAC is right, which nobody makes up",
        [
            (REVOKED, world.forged(REVOKED)),
            (REVOKED, world.revoked.clone()),
        ],
    );
    world.pair(
        bench,
        "a former token, the current one: accepted or not, which the answer says",
        [
            (REVOKED, world.revoked.clone()),
            (known, world.token.clone()),
        ],
    );
}

const UNKNOWN: &str = "q8z1n5w0c6d";
const REVOKED: &str = "r2t4y6u8i0o";
const ROTATED: &str = "s3d5f7g9h1j";

/// Many workspaces; of those that are tried one is live, one was rotated, one revoked, and one never was.
struct World {
    authority: TokenAuthority,
    token: String,
    revoked: String,
    rotated: String,
    /// Where the payload of a token begins.
    payload: usize,
}

impl World {
    fn new() -> Self {
        let Fixture {
            runtime,
            authority,
            token,
            ..
        } = Fixture::new();
        let primary = TokenName::primary();
        let (revoked, rotated) = runtime.block_on(async {
            let issue = async |id: &str| {
                let issued = authority.issue(&workspace(id), &primary).await;
                issued.expect("a free slot").expose_secret().to_owned()
            };
            for number in 0..200 {
                issue(&format!("w{number:010}")).await;
            }
            let (revoked, rotated) = (issue(REVOKED).await, issue(ROTATED).await);
            let ended = authority.revoke(&workspace(REVOKED), &primary).await;
            ended.expect("a live token");
            let replaced = authority.rotate(&workspace(ROTATED), &primary).await;
            replaced.expect("a live token");
            (revoked, rotated)
        });
        let payload = token.find('.').expect("three parts") + 1;
        // Kept running: checks begin the housekeeping on it.
        std::mem::forget(runtime.enter());
        Box::leak(Box::new(runtime));
        Self {
            authority,
            token,
            revoked,
            rotated,
            payload,
        }
    }

    /// What an attacker can make: the public header, claims that are right but for the secret, and any MAC.
    fn forged(&self, id: &str) -> String {
        let end = self.token.rfind('.').expect("three parts");
        let claims = BASE64_URL_SAFE_NO_PAD.decode(&self.token[self.payload..end]);
        let claims = String::from_utf8(claims.expect("base64url")).expect("JSON");
        let (before, secret) = claims.split_once(r#""jti":""#).expect("a secret");
        let forged = format!(r#"{before}"jti":"{}{}"#, "A".repeat(22), &secret[22..]);
        let forged = BASE64_URL_SAFE_NO_PAD.encode(forged.replace(WORKSPACE, id));
        format!("{}{forged}.{}", &self.token[..self.payload], "A".repeat(43))
    }

    /// Both inputs are checked at their workspaces.
    fn pair(&self, bench: &Bench, name: &str, inputs: [(&str, String); 2]) {
        let inputs = inputs.map(|(id, token)| (workspace(id), token));
        assert_eq!(inputs[0].1.len(), inputs[1].1.len(), "{name}");
        // Both lie in one place: where a text lies shows in its time too.
        let place = RefCell::new((inputs[0].0, inputs[0].1.clone().into_bytes()));
        let prepare = |which: usize| {
            let (workspace, token) = &mut *place.borrow_mut();
            *workspace = inputs[which].0;
            token.copy_from_slice(inputs[which].1.as_bytes());
        };
        bench.prepared_pair(name, prepare, |_| {
            let (workspace, token) = &*place.borrow();
            for _ in 0..OFTEN {
                let presented = PresentedToken::new(black_box(token));
                // The store answers at once.
                let outcome = at_once(pin!(self.authority.verify(black_box(workspace), presented)));
                let _ = black_box(outcome.is_ok());
            }
        });
    }
}

/// How many checks a sample is of: some clocks tick in steps of ten nanoseconds.
const OFTEN: usize = 8;

fn workspace(id: &str) -> WorkspaceId {
    id.parse().expect("a workspace id")
}

struct Bench {
    samples: usize,
}

impl Bench {
    /// Measures two inputs in an order drawn at random, and prints what differs.
    fn pair(&self, name: &str, run: impl FnMut(usize)) {
        self.prepared_pair(name, |_| (), run);
    }

    fn prepared_pair(&self, name: &str, prepare: impl Fn(usize), mut run: impl FnMut(usize)) {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut times: [Vec<u64>; 2] = Default::default();
        for sample in 0..self.samples + self.samples / 10 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let which = (random >> 63) as usize;
            prepare(which);
            let started = Instant::now();
            run(which);
            let took = started.elapsed().as_nanos() as u64;
            // What comes first warms up.
            if sample >= self.samples / 10 {
                times[which].push(took);
            }
        }
        let mut all = times.concat();
        all.sort_unstable();
        let t = PARTS.map(|part| {
            let bound = all[((all.len() - 1) as f64 * part) as usize];
            let [one, other] = times.each_ref().map(|times| Moments::of(times, bound));
            welch(&one, &other)
        });
        let largest = t.iter().fold(0.0_f64, |most, t| most.max(t.abs()));
        let [one, other] = times.map(median);
        println!(
            "  {} |t| {:7.2}, largest {largest:7.2}, medians {one} and {other} ns: {name}",
            if largest < DIFFERENT {
                "same  "
            } else {
                "differ"
            },
            t[PARTS.len() - 1].abs(),
        );
    }
}

fn median(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times[times.len() / 2]
}

struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    /// Of the times up to `bound`.
    fn of(times: &[u64], bound: u64) -> Self {
        let times = || {
            times
                .iter()
                .filter(|time| **time <= bound)
                .map(|time| *time as f64)
        };
        let count = times().count() as f64;
        let mean = times().sum::<f64>() / count;
        let squares: f64 = times().map(|time| (time - mean).powi(2)).sum();
        Self {
            count,
            mean,
            variance: squares / (count - 1.0),
        }
    }
}

/// Welch's t; zero where nothing varies.
fn welch(one: &Moments, other: &Moments) -> f64 {
    let error = (one.variance / one.count + other.variance / other.count).sqrt();
    if error > 0.0 {
        (one.mean - other.mean) / error
    } else {
        0.0
    }
}
