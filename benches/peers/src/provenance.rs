//! Where, when and of what something is measured.

use std::{fs, process::Command};

use peers_report::results::Provenance;

use crate::affinity;

const ALLOCATOR: &str = if cfg!(feature = "mimalloc") {
    "mimalloc"
} else {
    "the system's"
};

/// Asks the machine and the repository. What nobody tells is "unknown".
pub fn provenance() -> Provenance {
    let unknown = || "unknown".to_owned();
    let read = |path: &str| fs::read_to_string(path).ok();
    let cpu = read("/proc/cpuinfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let kernel = read("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned());
    Provenance {
        cpu: cpu.unwrap_or_else(unknown),
        cores: affinity::cores().len(),
        kernel: kernel.unwrap_or_else(unknown),
        rustc: output("rustc", &["--version"]).unwrap_or_else(unknown),
        allocator: ALLOCATOR.to_owned(),
        date: output("date", &["-u", "+%F"]).unwrap_or_else(unknown),
        commit: commit().unwrap_or_else(unknown),
    }
}

fn commit() -> Option<String> {
    let here = ["-C", env!("CARGO_MANIFEST_DIR")];
    let git = |arguments: &[&str]| output("git", &[&here, arguments].concat());
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let differs =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|text| !text.is_empty());
    Some(if differs { commit + "+" } else { commit })
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
