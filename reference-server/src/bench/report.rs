//! What comes of it: figures for people and programs.

use std::thread::available_parallelism;

use anyhow::Context as _;
use serde::Serialize;

use super::{
    Plan,
    baseline::Baseline,
    path::Path,
    rounds::{Measurement, Measurements},
    scratch::Scratch,
};
use crate::error::AppError;

/// All figures, and what they were measured with.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) threads: usize,
    pub(crate) tokens: usize,
    pub(crate) seconds: u64,
    pub(crate) paths: Figured,
    /// What it took to read the clock, and is subtracted from all times.
    pub(crate) clock_ns: u64,
    /// What signs in `jsonwebtoken_decode`.
    pub(crate) jsonwebtoken_backend: &'static str,
    pub(crate) machine: Machine,
    pub(crate) store: Store,
    /// Whether the program was built to be fast.
    pub(crate) optimized: bool,
}

/// The figures of each path.
#[derive(Debug, Serialize)]
pub(crate) struct Figured {
    pub(crate) warm: Figures,
    pub(crate) cold: Figures,
    pub(crate) wrong_signature: Figures,
    pub(crate) garbage: Figures,
    pub(crate) jsonwebtoken_decode: Figures,
}

/// The figures of one path.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) ops_per_s: u64,
    /// The same by the cores that the threads can have had.
    pub(crate) ops_per_s_per_core: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu: Option<String>,
    /// How many this process may use.
    pub(crate) cores: usize,
    pub(crate) architecture: &'static str,
    pub(crate) system: &'static str,
}

/// The database of the cold path.
#[derive(Debug, Serialize)]
pub(crate) struct Store {
    pub(crate) kind: &'static str,
    /// The directory that it was in.
    pub(crate) directory: String,
    pub(crate) in_data_dir: bool,
}

impl Report {
    pub(super) fn new(
        plan: Plan,
        scratch: &Scratch,
        measurements: &Measurements,
    ) -> Result<Self, AppError> {
        let machine = Machine::this()?;
        let clock_ns = measurements.of(Path::Clock).durations.percentile(50);
        let figures = |path| {
            let of_path = measurements.of(path);
            Figures::new(of_path, clock_ns, plan.threads.min(machine.cores))
        };
        Ok(Self {
            threads: plan.threads,
            tokens: plan.tokens,
            seconds: plan.duration.as_secs(),
            paths: Figured {
                warm: figures(Path::Warm),
                cold: figures(Path::Cold),
                wrong_signature: figures(Path::WrongSignature),
                garbage: figures(Path::Garbage),
                jsonwebtoken_decode: figures(Path::Decode),
            },
            clock_ns,
            jsonwebtoken_backend: Baseline::BACKEND,
            machine,
            store: Store {
                kind: "sqlite",
                directory: scratch.parent().display().to_string(),
                in_data_dir: scratch.is_in_data_dir(),
            },
            optimized: !cfg!(debug_assertions),
        })
    }
}

impl Figures {
    fn new(measurement: &Measurement, clock_ns: u64, cores: usize) -> Self {
        let time = |percent| {
            let with_clock = measurement.durations.percentile(percent);
            // What is shorter than the clock can tell is a nanosecond, its unit.
            with_clock.saturating_sub(clock_ns).max(1)
        };
        let ops_per_s = measurement.counted as f64 / measurement.took.as_secs_f64();
        Self {
            p50_ns: time(50),
            p99_ns: time(99),
            ops_per_s: ops_per_s as u64,
            ops_per_s_per_core: (ops_per_s / cores as f64) as u64,
        }
    }
}

impl Machine {
    fn this() -> anyhow::Result<Self> {
        Ok(Self {
            cpu: cpu(),
            cores: cores()?,
            architecture: std::env::consts::ARCH,
            system: std::env::consts::OS,
        })
    }
}

/// Returns how many cores this process may use.
pub(crate) fn cores() -> anyhow::Result<usize> {
    let cores = available_parallelism().context("cannot tell how many cores there are")?;
    Ok(cores.get())
}

/// Returns what the processor calls itself, where it does.
fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, name) = lines.find(|(key, _)| key.trim() == "model name")?;
    Some(name.trim().to_owned())
}
