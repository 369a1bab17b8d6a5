//! The results as they are kept in `docs/benchmarks/*.json`.

use serde::{Deserialize, Serialize};

/// A median with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Estimate {
    /// The median over the rounds.
    pub median: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end of the interval.
    pub high: f64,
}

/// Where, when and of what something was measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Provenance {
    /// The processor's own name.
    pub cpu: String,
    /// How many cores the process could use.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The compiler's version.
    pub rustc: String,
    /// The allocator of both sides.
    pub allocator: String,
    /// The day, UTC.
    pub date: String,
    /// The commit, with `+` behind it if files differed from it.
    pub commit: String,
}

/// Results of the race in one process.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LayerResults {
    /// Where and when.
    pub provenance: Provenance,
    /// How many times each lane ran.
    pub rounds: usize,
    /// What a request costs that no layer looks at, in nanoseconds.
    pub bare_ns: Estimate,
    /// One row for each lane.
    pub rows: Vec<Row>,
    /// How two threads do against one.
    pub threads: Vec<ThreadRow>,
    /// How the number of live tokens counts.
    pub many: Vec<ManyRow>,
    /// What remembering a token takes.
    pub memory: Vec<MemoryRow>,
    /// The candidates that failed the check before the race.
    pub not_raced: Vec<NotRaced>,
}

/// What kind of work a lane does: like is compared with like.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Does nothing: shows the noise.
    Gauge,
    /// Verifies a token as if it had never been seen.
    FullVerification,
    /// Has seen the token before.
    Remembered,
    /// Checks a session beside the token.
    Session,
    /// Turns a request away.
    Rejection,
    /// Turns away what is far too large.
    Hostile,
}

/// One lane of the race.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Row {
    /// The name for `--count`.
    pub id: String,
    /// What kind of work it does.
    pub group: Group,
    /// What it is called in a table.
    pub label: String,
    /// What has to be known beside the number.
    pub note: String,
    /// Whether it is this library.
    pub ours: bool,
    /// The lane that it is compared with, round by round; without one the time stands for itself.
    pub base: Option<String>,
    /// Nanoseconds for a request beyond those of the base.
    pub added_ns: Estimate,
    /// Allocations for a request beyond those of the base, if they were counted.
    pub allocations: Option<f64>,
}

/// How many requests two threads serve against one.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ThreadRow {
    /// What was measured.
    pub label: String,
    /// Whether it is this library.
    pub ours: bool,
    /// How many different tokens the requests carried.
    pub tokens: usize,
    /// Throughput of two threads as a multiple of one thread's.
    pub ratio: Estimate,
}

/// Warm checks among many live tokens.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ManyRow {
    /// How many tokens are live.
    pub tokens: usize,
    /// Nanoseconds for a request beyond those of the bare service.
    pub added_ns: Estimate,
}

/// Memory that a remembered token takes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MemoryRow {
    /// What was measured.
    pub label: String,
    /// Whether it is this library.
    pub ours: bool,
    /// How many tokens were remembered.
    pub tokens: usize,
    /// Live bytes for each of them.
    pub bytes_per_token: f64,
}

/// A candidate that failed the check before the race.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NotRaced {
    /// What it is called.
    pub label: String,
    /// What was wrong.
    pub reason: String,
}

/// What the counting binary hands to the race.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Counts {
    /// Allocations for a request, by lane.
    pub allocations: Vec<(String, f64)>,
    /// Memory of remembered tokens.
    pub memory: Vec<MemoryRow>,
}

/// Results of the comparison over HTTP.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct HttpResults {
    /// Where and when.
    pub provenance: Provenance,
    /// How many times each server was put under load.
    pub rounds: usize,
    /// What made the load of the closed loop.
    pub load: String,
    /// How many connections stayed open.
    pub connections: usize,
    /// Requests for a second in the open loop: half of what the bare server can do.
    pub open_loop_rate: f64,
    /// One row for each server.
    pub rows: Vec<HttpRow>,
    /// The candidates that failed the check before the race.
    pub not_raced: Vec<NotRaced>,
}

/// One server under load.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct HttpRow {
    /// Its name on the command line.
    pub id: String,
    /// What it is called in a table.
    pub label: String,
    /// Whether it is this library.
    pub ours: bool,
    /// The server that it is compared with, round by round.
    pub base: String,
    /// Requests for a second, as they were.
    pub requests_per_second: Estimate,
    /// The same as a fraction of the base's.
    pub throughput: Estimate,
    /// Processor time of the server for a request, as a multiple of the base's.
    pub cpu: Estimate,
    /// The 99th percentile of the open loop, in microseconds.
    pub p99_us: Estimate,
    /// The same as a multiple of the base's.
    pub p99: Estimate,
}
