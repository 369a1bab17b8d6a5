//! Rounds: each path takes its turn in every one of them, so that whatever else the machine does hits all
//! alike.
//!
//! A path's turn is two slices. In the first one operations are only counted, and the clock is read
//! once in [`BATCH`] of them: this is what operations per second come from. In the second one the clock is
//! read after each operation, and the time since the reading before is counted: this is what percentiles
//! come from. What timing costs itself is measured by the same loop around nothing, see [`Path::Clock`].

use std::{
    io,
    sync::OnceLock,
    thread::{self, Builder},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tower_workspace_token::clock::{Clock as _, Moment, SystemClock};

use super::{Plan, histogram::Histogram, interrupt::Interrupt, material::Material, path::Path};
use crate::error::AppError;

/// What a path came to, over all threads and rounds.
#[derive(Debug, Default)]
pub(super) struct Measurement {
    /// How many operations were counted, and how long that took.
    pub(super) counted: u64,
    pub(super) took: Duration,
    /// How long each of others took.
    pub(super) durations: Histogram,
    /// How many of all were not answered as they have to be.
    wrong: u64,
}

/// The measurements of all paths.
#[derive(Debug, Default)]
pub(super) struct Measurements([Measurement; Path::ALL.len()]);

/// Measures round after round until the time is over.
pub(super) fn measure(
    plan: Plan,
    material: &Material,
    interrupt: &Interrupt,
    done: &mut dyn FnMut(u64, u64),
) -> Result<Measurements, AppError> {
    let mut measurements = Measurements::default();
    let began = SystemClock.moment();
    let mut seeds = Random::new(1);
    loop {
        for (path, measurement) in Path::ALL.into_iter().zip(&mut measurements.0) {
            for mode in modes(path) {
                interrupt.check()?;
                let slice = Slice {
                    threads: plan.threads,
                    material,
                    mode: *mode,
                    seed: seeds.draw(),
                };
                measurement.add(slice.run(path)?, *mode);
            }
            ensure_right(path, measurement)?;
        }
        let elapsed = SystemClock.moment().saturating_since(began);
        let elapsed = elapsed.min(plan.duration);
        done(elapsed.as_secs(), plan.duration.as_secs());
        if elapsed == plan.duration {
            return Ok(measurements);
        }
    }
}

fn modes(path: Path) -> &'static [Mode] {
    match path {
        Path::Clock => &[Mode::Time],
        _ => &[Mode::Count, Mode::Time],
    }
}

/// Figures of answers that are not what the path's name says would be figures of something else.
fn ensure_right(path: Path, measurement: &Measurement) -> anyhow::Result<()> {
    ensure!(
        measurement.wrong == 0,
        "{} operations of {} were not answered as they have to be: there are too few open files (`ulimit -n`) for so many threads, the disk fails, or there is a defect",
        measurement.wrong,
        path.name()
    );
    Ok(())
}

impl Measurements {
    pub(super) fn of(&self, path: Path) -> &Measurement {
        let mut all = Path::ALL.iter().zip(&self.0);
        let (_, measurement) = all
            .find(|(of, _)| **of == path)
            .expect("each path is in `ALL`");
        measurement
    }
}

impl Measurement {
    fn add(&mut self, part: Part, mode: Mode) {
        match mode {
            Mode::Count => {
                self.counted += part.done;
                self.took += part.took;
            }
            Mode::Time => self.durations.add(&part.durations),
        }
        self.wrong += part.wrong;
    }
}

/// What is done with each operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Count,
    Time,
}

/// A short while in which all threads do the same.
struct Slice<'a> {
    threads: usize,
    material: &'a Material,
    mode: Mode,
    seed: u64,
}

/// What a thread, or all of them, came to in a slice.
#[derive(Debug, Default)]
struct Part {
    done: u64,
    wrong: u64,
    took: Duration,
    durations: Histogram,
}

impl Slice<'_> {
    fn run(&self, path: Path) -> Result<Part, AppError> {
        let material = self.material;
        match path {
            Path::Clock => self.by_chance(material.known(), std::hint::black_box(|_| true)),
            Path::Cold => {
                let fresh = material.fresh_authority()?;
                self.each_once(|pick| material.check_unseen(&fresh, pick))
            }
            Path::Decode => self.by_chance(material.known(), |pick| material.decode(pick)),
            Path::Garbage => self.by_chance(material.known(), |pick| material.check_garbage(pick)),
            Path::Warm => self.by_chance(material.known(), |pick| material.check_known(pick)),
            Path::WrongSignature => {
                self.by_chance(material.forged(), |pick| material.check_forged(pick))
            }
        }
    }

    /// Runs `operation` on some of the first `below` tokens, whichever comes up, until the time is over.
    fn by_chance(
        &self,
        below: usize,
        operation: impl Fn(usize) -> bool + Sync,
    ) -> Result<Part, AppError> {
        let picks = |thread: usize| {
            let mut random = Random::new(self.seed.wrapping_add(thread as u64));
            std::iter::repeat_with(move || random.below(below))
        };
        self.on_all_threads(picks, operation)
    }

    /// Runs `operation` on tokens of which none comes up twice, until the time is over or there are no more.
    fn each_once(&self, operation: impl Fn(usize) -> bool + Sync) -> Result<Part, AppError> {
        let (issued, threads) = (self.material.issued(), self.threads);
        let first = Random::new(self.seed).below(issued);
        let picks = |thread: usize| {
            let share = (thread..issued).step_by(threads);
            share.map(move |position| (first + position) % issued)
        };
        self.on_all_threads(picks, operation)
    }

    fn on_all_threads<P: Iterator<Item = usize>>(
        &self,
        picks: impl Fn(usize) -> P + Sync,
        operation: impl Fn(usize) -> bool + Sync,
    ) -> Result<Part, AppError> {
        // Opened when all are there, or with nothing if some could not be had.
        let gate = OnceLock::new();
        let work = |thread| {
            // So that an authority's work beside begins.
            let _entered = self.material.runtime().enter();
            let picks = picks(thread);
            let mut part = Part::default();
            let start: Moment = (*gate.wait())?;
            let until = start.saturating_add(SLICE);
            match self.mode {
                Mode::Count => part.count(picks, until, &operation),
                Mode::Time => part.time(picks, until, &operation),
            }
            part.took = SystemClock.moment().saturating_since(start);
            Some(part)
        };
        thread::scope(|scope| {
            let start = |thread| Builder::new().spawn_scoped(scope, move || work(thread));
            let started: io::Result<Vec<_>> = (0..self.threads).map(start).collect();
            let _ = gate.set(started.is_ok().then(|| SystemClock.moment()));
            let started = started.context("cannot start as many threads")?;
            let mut whole = Part::default();
            for thread in started {
                let part = thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                whole.add(&part.unwrap_or_default());
            }
            Ok(whole)
        })
    }
}

impl Part {
    /// Counts operations until the time is over, and some in any case: on a busy machine a thread may come to it late.
    fn count(
        &mut self,
        mut picks: impl Iterator<Item = usize>,
        until: Moment,
        operation: &impl Fn(usize) -> bool,
    ) {
        loop {
            let before = self.done;
            for pick in picks.by_ref().take(BATCH) {
                self.done += 1;
                self.wrong += u64::from(!operation(pick));
            }
            if self.done == before || SystemClock.moment() >= until {
                return;
            }
        }
    }

    /// Times each operation until the time is over.
    fn time(
        &mut self,
        picks: impl Iterator<Item = usize>,
        until: Moment,
        operation: &impl Fn(usize) -> bool,
    ) {
        let mut last = SystemClock.moment();
        for pick in picks {
            self.wrong += u64::from(!operation(pick));
            let now = SystemClock.moment();
            let took = now.saturating_since(last).as_nanos();
            self.durations
                .record(u64::try_from(took).unwrap_or(u64::MAX));
            if now >= until {
                return;
            }
            last = now;
        }
    }

    /// Adds what another thread did at the same time.
    fn add(&mut self, other: &Self) {
        self.done += other.done;
        self.wrong += other.wrong;
        self.took = self.took.max(other.took);
        self.durations.add(&other.durations);
    }
}

/// xorshift64*, after Vigna: good enough to surprise a cache, and cheap.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        // Neighbours begin far apart, and none at zero, where it would stay.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.draw()) * bound as u128) >> 64) as usize
    }
}

/// How many operations are counted between two looks at the clock.
const BATCH: usize = 64;

/// How long a path's slice is: long beside what it takes to start threads, short beside what else the
/// machine does in fits and starts.
const SLICE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PLAN: Plan = Plan {
        duration: Duration::from_millis(1),
        threads: 2,
        tokens: 3,
    };

    /// Issues tokens, and does something with them.
    fn with_material<T>(use_it: impl FnOnce(&Material, &Interrupt) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let interrupt = Interrupt::default();
        let database = folder.path().join("bench.db");
        let material =
            Material::prepare(PLAN, &database, &runtime, &interrupt, &mut |_, _| {}).unwrap();
        use_it(&material, &interrupt)
    }

    fn slice(material: &Material) -> Slice<'_> {
        Slice {
            threads: 3,
            material,
            mode: Mode::Count,
            seed: 7,
        }
    }

    #[test]
    fn each_path_is_counted_and_timed() {
        let measure =
            |material: &_, interrupt: &_| measure(PLAN, material, interrupt, &mut |_, _| {});
        let measurements = with_material(measure).unwrap();
        for path in Path::ALL {
            let of_path = measurements.of(path);
            assert!(of_path.durations.percentile(100) > 0, "{}", path.name());
            assert_eq!(of_path.wrong, 0, "{}", path.name());
            assert_eq!(of_path.counted > 0, path != Path::Clock, "{}", path.name());
        }
    }

    #[test]
    fn a_thread_that_comes_late_counts_all_the_same() {
        let mut part = Part::default();
        part.count(0..BATCH + 1, SystemClock.moment(), &|pick| pick > 0);
        assert_eq!((part.done, part.wrong), (BATCH as u64, 1));
    }

    /// So that no figure of the cold path is one of something that was remembered.
    #[test]
    fn the_cold_path_needs_the_store() {
        with_material(|material, interrupt| {
            let with_rows = slice(material).run(Path::Cold).unwrap();
            assert!(with_rows.done > 0 && with_rows.wrong == 0);
            material.empty_store();
            let without = slice(material).run(Path::Cold).unwrap();
            assert!(without.done > 0 && without.wrong == without.done);
            let failed = measure(PLAN, material, interrupt, &mut |_, _| {}).unwrap_err();
            assert!(
                failed
                    .to_string()
                    .contains("not answered as they have to be")
            );
        });
    }

    #[test]
    fn no_token_is_new_twice() {
        with_material(|material, _| {
            let seen = std::sync::Mutex::new(BTreeSet::new());
            let is_new = |pick| seen.lock().unwrap().insert(pick);
            let part = slice(material).each_once(is_new).unwrap();
            assert!(part.done > 0 && part.wrong == 0);
        });
    }

    #[test]
    fn chance_leaves_nothing_out() {
        let mut random = Random::new(3);
        let drawn: BTreeSet<usize> = (0..10_000).map(|_| random.below(100)).collect();
        assert_eq!(drawn, (0..100).collect());
    }
}
