//! git, as it is run in repositories that may be anybody's: whoever made one could name programs in its
//! configuration, and have git fetch by way of them.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Prepares a git in `directory` that runs nothing the repository names, fetches nothing and asks nobody.
pub(crate) fn command(directory: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C")
        .arg(directory)
        .args(["-c", "core.fsmonitor=false"])
        .args(["-c", "core.hooksPath=/dev/null"])
        .args(["--no-optional-locks", "--no-pager"])
        // What is missing in a partial clone would be fetched by the program that `uploadpack` names.
        .env("GIT_NO_LAZY_FETCH", "1")
        // Versions that do not know this variable are stopped by there being no way to fetch.
        .env("GIT_ALLOW_PROTOCOL", "none")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    git
}

/// Makes git work in the repository of its directory, whatever variables say.
pub(crate) fn forget_variables(git: &mut Command) {
    for name in NAMES_A_REPOSITORY {
        git.env_remove(name);
    }
}

/// The variables that name another repository than that of the directory.
const NAMES_A_REPOSITORY: [&str; 7] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
];
