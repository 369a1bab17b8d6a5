//! `wst bench validate`: what it prints, and that it leaves everything as it was.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::{Done, Home, Stopwatch, fields, text};

const PATHS: [&str; 5] = [
    "cold",
    "garbage",
    "jsonwebtoken_decode",
    "warm",
    "wrong_signature",
];

const SHORT: [&str; 4] = ["bench", "validate", "--seconds", "1"];

/// Measures for a second where nothing of the machine's own is.
fn measure(home: &Home, arguments: &[&str]) -> Value {
    let folder = temporary(home);
    let mut command = home.command(&[&SHORT, arguments, &["--json"]].concat());
    command.env("TMPDIR", &folder);
    let done = Done::of(command);
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    assert_eq!(names(&folder), Vec::<String>::new());
    serde_json::from_str(&done.stdout).unwrap()
}

/// Returns a directory for temporary files that is the test's own.
fn temporary(home: &Home) -> std::path::PathBuf {
    let folder = home.path("temporary");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn prints_figures_of_every_path() {
    let home = Home::new();
    let report = measure(&home, &["--threads", "2", "--tokens", "3"]);
    assert_eq!(report["threads"], 2);
    assert_eq!(report["tokens"], 3);
    assert_eq!(report["seconds"], 1);
    assert_eq!(fields(&report["paths"]), PATHS);
    for path in PATHS {
        let figures = &report["paths"][path];
        let [p50, p99, per_second, per_core] =
            ["p50_ns", "p99_ns", "ops_per_s", "ops_per_s_per_core"].map(|name| {
                let number = figures[name].as_u64();
                number.unwrap_or_else(|| panic!("{path}: no {name}: {figures}"))
            });
        assert!(0 < p50 && p50 <= p99, "{path}: {figures}");
        assert!(0 < per_core && per_core <= per_second, "{path}: {figures}");
    }
    assert_eq!(report["store"]["in_data_dir"], false);
    assert_eq!(
        report["store"]["directory"],
        text(&temporary(&home).to_str().into())
    );
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
    assert!(report["clock_ns"].as_u64().unwrap() > 0);
    assert!(!home.data_dir().exists());
}

#[test]
fn people_get_a_table_and_hear_where_the_database_is() {
    let home = Home::new();
    let folder = temporary(&home);
    let mut command = home.command(&SHORT);
    command.env("TMPDIR", &folder);
    let done = Done::of(command);
    assert_eq!(done.code, 0, "{}", done.stderr);
    for name in [
        "warm",
        "cold",
        "wrong signature",
        "garbage",
        "jsonwebtoken::decode",
    ] {
        let line = done.stdout.lines().find(|line| line.starts_with(name));
        assert!(
            line.is_some_and(|line| line.ends_with('×')),
            "{}",
            done.stdout
        );
    }
    let told = format!("in {}, since there is no data directory", folder.display());
    assert!(done.stderr.contains(&told), "{}", done.stderr);
}

#[test]
fn works_beside_a_server_and_leaves_its_data_alone() {
    let home = Home::new();
    let server = home.serve();
    let workspace = home.create_workspace("acme");
    let before = (names(&home.data_dir()), home.json(&["workspace", "list"]));
    let report = measure(&home, &["--tokens", "100"]);
    assert_eq!(report["store"]["in_data_dir"], true);
    assert_eq!(
        report["store"]["directory"],
        home.data_dir().to_str().unwrap()
    );
    assert!(server.admits(&workspace.id, &workspace.secret));
    let after = (names(&home.data_dir()), home.json(&["workspace", "list"]));
    assert_eq!(before, after);
}

#[test]
fn the_database_of_a_server_that_does_not_run_stays_as_it_is() {
    let home = Home::new();
    drop(home.serve());
    let before = (names(&home.data_dir()), fs::read(home.database()).unwrap());
    measure(&home, &[]);
    let after = (names(&home.data_dir()), fs::read(home.database()).unwrap());
    assert!(before == after);
    drop(home.serve());
}

#[test]
fn what_a_kill_leaves_behind_is_removed_by_the_next_one() {
    let home = Home::new();
    drop(home.serve());
    let before = names(&home.data_dir());
    let mut child = start(home.command(&["bench", "validate", "--seconds", "600"]));
    wait_for_database(&home.data_dir(), &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ne!(names(&home.data_dir()), before);
    measure(&home, &[]);
    assert_eq!(names(&home.data_dir()), before);
}

#[test]
fn a_signal_ends_it_at_once_and_leaves_nothing_behind() {
    let home = Home::new();
    drop(home.serve());
    let before = names(&home.data_dir());
    for (signal, tokens) in [
        (Signal::INT, "1"),
        (Signal::TERM, "1"),
        (Signal::HUP, "1"),
        // Before it has come to measure anything.
        (Signal::INT, "1000000"),
    ] {
        let arguments = ["bench", "validate", "--seconds", "600", "--tokens", tokens];
        let mut child = start(home.command(&arguments));
        wait_for_database(&home.data_dir(), &mut child);
        let watch = Stopwatch::start();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let done = Done::from(child.wait_with_output().unwrap());
        assert!(
            watch.elapsed() < Duration::from_secs(5),
            "{:?}",
            watch.elapsed()
        );
        assert_eq!((done.code, done.stdout.as_str()), (1, ""), "{signal:?}");
        assert!(done.stderr.contains("interrupted"), "{}", done.stderr);
        assert_eq!(names(&home.data_dir()), before, "{signal:?}");
    }
}

fn start(mut command: Command) -> Child {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits until the database that is measured is there.
fn wait_for_database(data_dir: &Path, child: &mut Child) {
    let watch = Stopwatch::start();
    loop {
        let all = names(data_dir);
        let folder = all.iter().find(|name| name.starts_with("wst-bench-"));
        if let Some(folder) = folder.map(|name| data_dir.join(name))
            && folder.join("bench.db-wal").exists()
        {
            let mode = fs::metadata(&folder).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o700);
            return;
        }
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        assert!(watch.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let home = Home::new();
    for (option, values) in [
        ("--seconds", ["0", "601", "1.5", "ten"]),
        ("--threads", ["0", "1025", "-1", "many"]),
        ("--tokens", ["0", "1000001", "-1", ""]),
    ] {
        for value in values {
            let given = format!("{option}={value}");
            let failure = home.failure(&["bench", "validate", &given]);
            assert_eq!(failure, (2, "usage".to_owned()), "{given}");
        }
    }
    assert_eq!(home.failure(&["bench"]), (2, "usage".to_owned()));
    let nowhere = ["bench", "validate", "--data-dir", "nowhere"];
    assert_eq!(home.failure(&nowhere), (1, "no_data_dir".to_owned()));
}
