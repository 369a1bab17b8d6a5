//! How many instructions the paths of a check take: a guard that times nothing.
//!
//! ```sh
//! cargo bench --bench instructions --features full              # fails if a path takes 5 % more than it did
//! cargo bench --bench instructions --features full -- --record  # after a change that is worth it
//! ```
//!
//! Runs itself under callgrind (Debian's package `valgrind`), each path 1,000 times and 2,000 times: the
//! difference has no part of the start. callgrind has no SHA extensions, so what computes a MAC counts
//! more here than it costs. Counts belong to a compiler: another one than `instructions.txt` names is told
//! apart, and then nothing is compared.

mod common;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use http::Request;
use tower_layer::Layer as _;
use tower_service::Service;
use tower_workspace_token::{WorkspaceTokenLayer, layer::FixedWorkspace};

use common::{Fixture, Hello, TARGET, exchange, request};

const PATHS: [&str; 8] = [
    "bare",
    "layer, cold",
    "layer, garbage",
    "layer, warm",
    "layer, warm, token in the query",
    "verify, garbage",
    "verify, warm",
    "verify, wrong signature",
];

/// How many times a path is run.
const FEW: usize = 1000;
const MANY: usize = 2000;

/// By how much a count may rise.
const MARGIN: f64 = 1.05;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    if let [_, run, path, count] = &*arguments
        && run == "--run"
    {
        run_path(path, count.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    if !has_valgrind() {
        println!("skipped: there is no valgrind on this machine");
        return ExitCode::SUCCESS;
    }
    let counts: BTreeMap<&str, u64> = PATHS.iter().map(|path| (*path, count(path))).collect();
    if arguments.iter().any(|argument| argument == "--record") {
        fs::write(record(), written(&counts)).expect("the record can be written");
        println!("recorded in {}", record().display());
        return ExitCode::SUCCESS;
    }
    compare(&counts)
}

fn compare(counts: &BTreeMap<&str, u64>) -> ExitCode {
    let text = fs::read_to_string(record()).expect("the record is beside the benchmark");
    let (compiler, recorded) = text.split_once('\n').expect("the compiler comes first");
    if compiler != self::compiler() {
        println!(
            "skipped: recorded with {compiler}, this is {}",
            self::compiler()
        );
        return ExitCode::SUCCESS;
    }
    let recorded: BTreeMap<&str, u64> = recorded
        .lines()
        .map(|line| {
            let (count, path) = line.split_once(' ').expect("a count and a path");
            (path, count.parse().expect("a number"))
        })
        .collect();
    let mut is_good = recorded.keys().eq(counts.keys());
    if !is_good {
        println!("other paths are recorded: run with --record");
    }
    for (path, count) in counts {
        let before = recorded.get(path).copied().unwrap_or_default();
        let change = *count as f64 / before as f64;
        println!(
            "{count:>8} instructions, {:+.1} %: {path}",
            (change - 1.0) * 100.0
        );
        is_good &= change <= MARGIN;
    }
    if is_good {
        return ExitCode::SUCCESS;
    }
    println!(
        "a path takes over 5 % more than recorded; if that is worth it, run with --record and say why"
    );
    ExitCode::FAILURE
}

/// Returns the instructions of one pass of a path.
fn count(path: &str) -> u64 {
    let [few, many] = [FEW, MANY].map(|times| instructions(path, times));
    (many - few) / (MANY - FEW) as u64
}

fn instructions(path: &str, times: usize) -> u64 {
    let program = env::current_exe().expect("a running program has a file");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        // What is built before the first pass and dropped after the last one does not count.
        .arg("--toggle-collect=*collected*")
        .arg(program)
        .args(["--run", path, &times.to_string()])
        .output()
        .expect("valgrind runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let collected = log
        .split("Collected : ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let collected =
        collected.unwrap_or_else(|| panic!("callgrind says how much it collected: {log}"));
    collected.trim().parse().expect("a number")
}

fn run_path(path: &str, times: usize) {
    let fixture = Fixture::new();
    let _runtime = fixture.runtime.enter();
    let host = fixture.host();
    let warm = request(&host, TARGET, Some(&fixture.token));
    let workspace = FixedWorkspace(fixture.workspace);
    let layer = WorkspaceTokenLayer::new(fixture.authority.clone(), workspace);
    // The first sight of the token and of every lazily made thing.
    assert!(exchange(&mut layer.layer(Hello), warm));
    let send = |token: &str| {
        let requests = (0..times).map(|_| request(&host, TARGET, Some(token)));
        requests.collect::<Vec<_>>()
    };
    match path {
        "bare" => collected(Hello, send(&fixture.token)),
        "layer, cold" => {
            for _ in 0..times {
                let fresh = request(&host, TARGET, Some(&fixture.rotate()));
                collected(layer.layer(Hello), vec![fresh]);
            }
        }
        "layer, garbage" => collected(layer.layer(Hello), send(&fixture.garbage())),
        "layer, warm" => collected(layer.layer(Hello), send(&fixture.token)),
        "layer, warm, token in the query" => {
            let target = format!("{TARGET}?token={}", fixture.token);
            let requests = (0..times).map(|_| request(&host, &target, None)).collect();
            collected(layer.with_query_token("token").layer(Hello), requests);
        }
        "verify, garbage" => collected_checks(&fixture, &fixture.garbage(), times),
        "verify, warm" => collected_checks(&fixture, &fixture.token, times),
        "verify, wrong signature" => collected_checks(&fixture, &fixture.forged(), times),
        other => panic!("no path is called {other}"),
    }
}

/// What callgrind counts: the service and the drops, not the making of requests.
#[inline(never)]
fn collected<S: Service<Request<()>>>(mut service: S, requests: Vec<Request<()>>) {
    for request in requests {
        exchange(&mut service, request);
    }
}

/// What callgrind counts: the checks.
#[inline(never)]
fn collected_checks(fixture: &Fixture, token: &str, times: usize) {
    for _ in 0..times {
        std::hint::black_box(fixture.check(token)).ok();
    }
}

fn written(counts: &BTreeMap<&str, u64>) -> String {
    let lines = counts
        .iter()
        .map(|(path, count)| format!("{count} {path}\n"));
    format!("{}\n{}", compiler(), lines.collect::<String>())
}

fn record() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt")
}

/// The compiler that is in the path, which is the one that has built this.
fn compiler() -> String {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| String::from("rustc"));
    let output = Command::new(rustc)
        .arg("--version")
        .output()
        .expect("rustc runs");
    format!(
        "{}, {}",
        String::from_utf8_lossy(&output.stdout).trim(),
        env::consts::ARCH
    )
}

fn has_valgrind() -> bool {
    let found = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}
