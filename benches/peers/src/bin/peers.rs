//! The race in one process: prints its tables, and writes what they are made of as JSON.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use lexopt::{Arg, ValueExt as _};
use peers::{
    affinity,
    catalogue::{BARE, catalogue},
    lane::Entry,
    many, provenance,
    race::{self, Bounds, Outcome, race},
    threads,
    token::World,
};
use peers_report::{
    results::{Counts, LayerResults, NotRaced, Row},
    tables,
};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
usage: peers [--seconds N] [--rounds N] [--tokens N] [--json FILE]
       peers --count LANE N    runs one lane N times and prints nothing, for callgrind
       peers --list            prints the names of the lanes

  --seconds N   measure for about N seconds (default 75); setting up and counting come on top
  --rounds N    no more than N rounds of the race
  --tokens N    no more than N live tokens (default 1000000)
  --json FILE   write the results there as well";

/// The race gets most of the time, two threads and many tokens the rest.
const RACE: f64 = 0.6;
const THREADS: f64 = 0.25;
const MANY: f64 = 0.15;

enum Task {
    Count { lane: String, times: usize },
    Help,
    List,
    Measure(Options),
}

struct Options {
    seconds: f64,
    rounds: usize,
    tokens: usize,
    json: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let task = parse().context(USAGE)?;
    if let Task::Help = task {
        println!("{USAGE}");
        return Ok(());
    }
    let world = Arc::new(World::new()?);
    // For whatever a candidate spawns. Nothing is driven while the race is on.
    let _runtime = world.runtime.enter();
    let mut entries = catalogue(&world)?;
    match task {
        Task::Count { lane, times } => count(&mut entries, &lane, times),
        Task::Help => Ok(()),
        Task::List => {
            entries.iter().for_each(|entry| println!("{}", entry.id));
            Ok(())
        }
        Task::Measure(options) => measure(&world, entries, &options),
    }
}

fn parse() -> anyhow::Result<Task> {
    let mut options = Options {
        seconds: 75.0,
        rounds: usize::MAX,
        tokens: 1_000_000,
        json: None,
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("seconds") => options.seconds = arguments.value()?.parse()?,
            Arg::Long("rounds") => options.rounds = arguments.value()?.parse()?,
            Arg::Long("tokens") => options.tokens = arguments.value()?.parse()?,
            Arg::Long("json") => options.json = Some(arguments.value()?.into()),
            Arg::Long("count") => {
                let lane = arguments.value()?.string()?;
                let times = arguments.value()?.parse()?;
                return Ok(Task::Count { lane, times });
            }
            Arg::Long("list") => return Ok(Task::List),
            Arg::Short('h') | Arg::Long("help") => return Ok(Task::Help),
            other => return Err(other.unexpected().into()),
        }
    }
    ensure!(options.seconds > 0.0, "--seconds is above 0");
    Ok(Task::Measure(options))
}

/// Runs one lane in its usual batches.
fn count(entries: &mut [Entry], lane: &str, times: usize) -> anyhow::Result<()> {
    let entry = entries.iter_mut().find(|entry| entry.id == lane);
    let entry = entry.with_context(|| format!("there is no lane `{lane}`: see --list"))?;
    let mut left = times;
    while left > 0 {
        let batch = left.min(entry.batch);
        entry.lane.prepare(batch);
        let sample = entry.lane.run();
        ensure!(entry.is_sound(&sample, batch), "{sample:?}");
        left -= batch;
    }
    Ok(())
}

fn measure(world: &World, mut entries: Vec<Entry>, options: &Options) -> anyhow::Result<()> {
    let not_raced = race::keep_sound(&mut entries, &world.tokens.foreign);
    for NotRaced { label, reason } in &not_raced {
        eprintln!("not raced: {label}: {reason}");
    }
    if !entries.iter().any(|entry| entry.id == BARE) {
        bail!("the bare service does not answer");
    }
    let share = |part: f64| Duration::from_secs_f64(options.seconds * part);
    let bounds = |part| Bounds {
        time: share(part),
        rounds: options.rounds,
    };

    // Before this process keeps itself to one core.
    let provenance = provenance::provenance();
    eprintln!("two threads …");
    let threads = threads::measure(world, share(THREADS));
    // The last core: on many machines the first one serves the interrupts.
    if let Some(&core) = affinity::cores().last() {
        affinity::pin(core);
    }
    eprintln!("{} lanes …", entries.len());
    let started = Instant::now();
    let outcome = race(&mut entries, bounds(RACE));
    eprintln!(
        "{} rounds in {:.0} s",
        outcome.rounds,
        started.elapsed().as_secs_f64()
    );
    eprintln!("many tokens …");
    let many = many::measure(world, options.tokens, bounds(MANY));
    eprintln!("allocations and memory …");
    let counts = counts(options.tokens)?;

    let results = LayerResults {
        provenance,
        rounds: outcome.rounds,
        bare_ns: outcome.lanes[place_of(&entries, BARE)].whole,
        rows: rows(&entries, &outcome, &counts),
        threads,
        many,
        memory: counts.memory,
        not_raced,
    };
    for (_, table) in tables::of_layers(&results) {
        println!("{table}");
    }
    if let Some(file) = &options.json {
        let json = serde_json::to_string_pretty(&results)? + "\n";
        fs::write(file, json).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Has the program beside this one count.
fn counts(tokens: usize) -> anyhow::Result<Counts> {
    let program = std::env::current_exe()?.with_file_name("peers-count");
    let output = Command::new(&program)
        .arg(tokens.to_string())
        .output()
        .with_context(|| format!("running {}: is the package built?", program.display()))?;
    ensure!(
        output.status.success(),
        "peers-count: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn rows(entries: &[Entry], outcome: &Outcome, counts: &Counts) -> Vec<Row> {
    let lanes = entries.iter().zip(&outcome.lanes);
    lanes
        .map(|(entry, times)| Row {
            id: entry.id.clone(),
            group: entry.group,
            label: entry.label.clone(),
            note: entry.note.to_owned(),
            ours: entry.ours,
            base: entry.base.clone(),
            added_ns: times.added,
            allocations: counts
                .allocations
                .iter()
                .find(|(id, _)| *id == entry.id)
                .map(|(_, count)| *count),
        })
        .collect()
}

fn place_of(entries: &[Entry], id: &str) -> usize {
    let place = entries.iter().position(|entry| entry.id == id);
    place.expect("it was looked for before the race")
}
