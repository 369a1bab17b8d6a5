//! What git knows of a project's files, asked of git itself.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Returns those of `files` that git tracks in `folder`, or `None` where there is no repository, or no git.
pub(super) fn tracked(folder: &Path, files: &[&str]) -> Option<Vec<String>> {
    let arguments = [&["ls-files", "-z", "--"], files].concat();
    let output = git(folder).args(arguments).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let names = output.stdout.split(|byte| *byte == 0);
    let names = names.filter(|name| !name.is_empty());
    Some(
        names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect(),
    )
}

/// Returns whether git ignores `file` in `folder`, or `None` where nobody can tell.
pub(super) fn ignores(folder: &Path, file: &str) -> Option<bool> {
    let arguments = ["check-ignore", "--quiet", "--", file];
    match git(folder).args(arguments).status().ok()?.code()? {
        0 => Some(true),
        1 => Some(false),
        _ => None,
    }
}

/// A project's own configuration can name programs that git runs: none of them is wanted here.
fn git(folder: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C")
        .arg(folder)
        .args(["-c", "core.fsmonitor=false"])
        .args(["-c", "core.hooksPath=/dev/null"])
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_LITERAL_PATHSPECS", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    git
}
