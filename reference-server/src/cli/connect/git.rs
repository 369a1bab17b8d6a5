//! What git knows of a project's files, asked of git itself.

use std::{path::Path, process::Command};

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

fn git(folder: &Path) -> Command {
    let mut git = crate::git::command(folder);
    crate::git::forget_variables(&mut git);
    git.env("GIT_LITERAL_PATHSPECS", "0");
    git
}
