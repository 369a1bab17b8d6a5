//! What something takes: time, processor time of this process and of its database, and what others took meanwhile.
//!
//! Others are whoever else runs on the machine. A figure is that of the slices in which they took least.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::place::Store;

/// Reads the clocks.
#[derive(Debug)]
pub(crate) struct Meter {
    backends: Vec<i32>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    own: Duration,
    database: Duration,
    machine: Duration,
}

/// What was done in a slice, and what it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) done: u64,
    wall: f64,
    own: f64,
    database: f64,
    others: f64,
}

impl Meter {
    /// A meter that knows the server's processes for this process' connections, if it has any.
    pub(crate) async fn of(store: &Store) -> anyhow::Result<Self> {
        let backends = match store {
            Store::Sqlite(_) => Vec::new(),
            Store::Postgres(store) => {
                let client = store.pool().get().await?;
                let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()";
                client
                    .query(sql, &[])
                    .await?
                    .iter()
                    .map(|row| row.get(0))
                    .collect()
            }
        };
        Ok(Self { backends })
    }

    fn read(&self) -> Reading {
        Reading {
            at: Instant::now(),
            own: own_time(),
            database: self.backends.iter().copied().map(time_of).sum(),
            machine: machine_time(),
        }
    }

    fn since(&self, before: Reading, done: u64) -> Slice {
        let after = self.read();
        let seconds = |duration: Duration| duration.as_secs_f64();
        let wall = seconds(after.at - before.at);
        let own = seconds(after.own.saturating_sub(before.own));
        let database = seconds(after.database.saturating_sub(before.database));
        let machine = seconds(after.machine.saturating_sub(before.machine));
        Slice {
            done,
            wall,
            own,
            database,
            others: ((machine - own - database) / wall).max(0.0),
        }
    }

    /// Measures until three slices were quiet, or [`MOST`] were not; returns the figure of the three quietest.
    pub(crate) async fn quietest(
        &self,
        mut slice: impl AsyncFnMut() -> anyhow::Result<u64>,
    ) -> anyhow::Result<Value> {
        let mut slices = Vec::new();
        while slices.len() < MOST {
            let before = self.read();
            let done = slice().await?;
            slices.push(self.since(before, done));
            if slices.iter().filter(|slice| slice.others < QUIET).count() >= WANTED {
                break;
            }
        }
        slices.sort_by(|one, other| one.others.total_cmp(&other.others));
        slices.truncate(WANTED);
        slices.sort_by(|one, other| one.per_second().total_cmp(&other.per_second()));
        Ok(slices[slices.len() / 2].figure())
    }
}

impl Slice {
    pub(crate) fn per_second(&self) -> f64 {
        self.done as f64 / self.wall
    }

    fn figure(&self) -> Value {
        let each = |seconds: f64| rounded(seconds * 1e6 / self.done.max(1) as f64);
        json!({
            "per_s": rounded(self.per_second()),
            "own_us": each(self.own),
            "database_us": each(self.database),
            "others_cores": rounded(self.others),
        })
    }
}

/// Runs `step` again and again in `tasks` tasks, each with its number and that of its round, until the time is over or
/// it has nothing more to do; returns how often it ran.
pub(crate) async fn together<F, Fut>(tasks: usize, length: Duration, step: F) -> anyhow::Result<u64>
where
    F: Fn(usize, usize) -> Option<Fut> + Clone + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send,
{
    let (is_over, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let (step, is_over, done) = (step.clone(), Arc::clone(&is_over), Arc::clone(&done));
        running.spawn(async move {
            let until = Instant::now() + length;
            for round in 0.. {
                let next = step(task, round);
                let Some(next) = next else { break };
                next.await?;
                done.fetch_add(1, Ordering::Relaxed);
                // Unless somebody ran out: then all stop, so that the slice has one pace.
                if is_over.load(Ordering::Relaxed) || Instant::now() >= until {
                    break;
                }
            }
            is_over.store(true, Ordering::Relaxed);
            anyhow::Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(done.load(Ordering::Relaxed))
}

pub(crate) fn rounded(number: f64) -> f64 {
    match number {
        large if large >= 100.0 => large.round(),
        small => (small * 100.0).round() / 100.0,
    }
}

/// Returns the processor time of this process.
pub(crate) fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Returns the resident memory of this process, in bytes.
pub(crate) fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = text.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Returns the processor time of a process of this machine; none if it is of another, or gone.
fn time_of(process: i32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    ticks(fields.split(' ').skip(11).take(2))
}

/// Returns the time that all processors were busy.
fn machine_time() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or("").split_whitespace().skip(1);
    // Idle and waiting for the disk are no work; guests are counted twice.
    ticks(
        fields
            .take(8)
            .enumerate()
            .filter(|(place, _)| ![3, 4].contains(place))
            .map(|(_, field)| field),
    )
}

/// Adds up numbers of 10 ms.
fn ticks<'t>(fields: impl Iterator<Item = &'t str>) -> Duration {
    Duration::from_millis(
        fields
            .filter_map(|field| field.parse::<u64>().ok())
            .sum::<u64>()
            * 10,
    )
}

/// Others take less than so much of a core.
const QUIET: f64 = 0.25;
const WANTED: usize = 3;
const MOST: usize = 6;
