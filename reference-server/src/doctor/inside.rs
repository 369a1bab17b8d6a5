//! What the process says that holds the data directory, judged.

use super::Check;
use crate::actions::{Health, KeysChecked, ServerChecked};

/// Judges the database, the clock by which its rows were written, and, of a server that runs, its process.
pub(crate) fn judge(checked: &ServerChecked, is_server: bool) -> Vec<Check> {
    let mut checks = vec![database(checked), rows(checked)];
    if is_server {
        checks.push(process(checked));
    }
    checks
}

fn database(checked: &ServerChecked) -> Check {
    const NAME: &str = "database";
    match &checked.damage {
        None => Check::ok(NAME, "SQLite finds nothing wrong with it"),
        Some(damage) => Check::fail(
            NAME,
            format!("SQLite says: {damage}"),
            "stop the server, keep a copy of the data directory, and bring the last backup back with `wst restore`",
        ),
    }
}

fn rows(checked: &ServerChecked) -> Check {
    const NAME: &str = "clock of the rows";
    let ahead = checked.seconds_ahead;
    match &checked.latest_row {
        Some(latest) if ahead > TOLERATED => Check::fail(
            NAME,
            format!(
                "the latest row is of {latest}, {ahead} s ahead of the clock: the clock was set back, or runs late"
            ),
            "set the clock by NTP (`timedatectl`); rows of the future expire late and are listed first",
        ),
        _ => Check::ok(NAME, "no row is of the future"),
    }
}

fn process(checked: &ServerChecked) -> Check {
    const NAME: &str = "process";
    if !checked.is_undumpable {
        return Check::fail(
            NAME,
            "the server could be dumped, with the tokens in its memory",
            "start it as the files in `reference-server/deploy` do, without what traces it",
        );
    }
    if !checked.are_keys_locked {
        return Check::warn(
            NAME,
            "keys may be swapped out",
            "let the server lock 256 KiB of memory (`ulimit -l`, LimitMEMLOCK), or have no swap",
        );
    }
    if let Some(files) = checked.open_files.filter(|files| *files < FEW_FILES) {
        return Check::warn(
            NAME,
            format!("it may open {files} files and connections at a time"),
            "raise the limit (`ulimit -Hn`, LimitNOFILE)",
        );
    }
    Check::ok(
        NAME,
        "no core dumps, keys out of swap, room for connections",
    )
}

/// Judges whether each live token has the keys that it needs.
pub(crate) fn judge_keys(keys: &KeysChecked) -> Check {
    const NAME: &str = "keys";
    match keys.is_sound {
        true => Check::ok(
            NAME,
            format!("{} live tokens opened, each with its keys", keys.sound),
        ),
        false => Check::fail(
            NAME,
            "live tokens lack a key, or their workspaces are locked",
            "`wst key check` names them",
        ),
    }
}

/// Judges the rollback journal, and the last backup.
pub(crate) fn judge_safety(health: &Health) -> Vec<Check> {
    let journal = match &health.rollback_journal {
        None => Check::ok(
            "rollback journal",
            "none is used: an old copy of the database would go unnoticed",
        ),
        Some(journal) if journal.locked.is_empty() => Check::ok(
            "rollback journal",
            format!("{} goes with the database", journal.file),
        ),
        Some(journal) => Check::fail(
            "rollback journal",
            format!(
                "an old copy of the database was put back: {} are locked",
                journal.locked.join(", ")
            ),
            "put the right database back, or `wst workspace unlock`, which ends the tokens that came back",
        ),
    };
    let backup = match &health.last_backup {
        Some(backup) => Check::ok("backup", format!("the last one is of {}", backup.at)),
        None => Check::warn(
            "backup",
            "there was none yet",
            "`wst backup FILE`, and `wst key export` for a copy of the keys",
        ),
    };
    vec![journal, backup]
}

/// As far ahead as clocks of one machine may be that is set by NTP.
const TOLERATED: i64 = 60;

/// The server keeps 512 for itself.
const FEW_FILES: u64 = 1024;
