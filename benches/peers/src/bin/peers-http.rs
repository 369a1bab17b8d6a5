//! The comparison over HTTP: prints its table, and writes what it is made of as JSON.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use lexopt::{Arg, ValueExt as _};
use peers::http::{
    child,
    comparison::{Settings, compare},
};
use peers_report::tables;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "\
usage: peers-http [--rounds N] [--seconds N] [--connections N] [--own-load] [--json FILE]

  --rounds N       put every server under load N times (default 15)
  --seconds N      for N seconds in the closed loop, and again in the open one (default 1)
  --connections N  over N connections (default 32)
  --own-load       don't take wrk for the closed loop even where it is installed
  --json FILE      write the results there as well";

enum Task {
    Compare(Settings, Option<PathBuf>),
    Help,
    /// What the program starts itself as.
    Serve {
        id: String,
        core: usize,
    },
}

fn main() -> anyhow::Result<()> {
    match parse().context(USAGE)? {
        Task::Help => {
            println!("{USAGE}");
            Ok(())
        }
        Task::Serve { id, core } => child::run(&id, core),
        Task::Compare(settings, json) => {
            let results = compare(settings)?;
            for (_, table) in tables::of_http(&results) {
                println!("{table}");
            }
            if let Some(file) = json {
                let text = serde_json::to_string_pretty(&results)? + "\n";
                fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
            }
            Ok(())
        }
    }
}

fn parse() -> anyhow::Result<Task> {
    let mut settings = Settings {
        rounds: 15,
        time: Duration::from_secs(1),
        connections: 32,
        with_wrk: true,
    };
    let mut json = None;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("rounds") => settings.rounds = arguments.value()?.parse()?,
            Arg::Long("seconds") => {
                settings.time = Duration::from_secs_f64(arguments.value()?.parse()?);
            }
            Arg::Long("connections") => settings.connections = arguments.value()?.parse()?,
            Arg::Long("own-load") => settings.with_wrk = false,
            Arg::Long("json") => json = Some(arguments.value()?.into()),
            Arg::Short('h') | Arg::Long("help") => return Ok(Task::Help),
            Arg::Value(word) if word == "serve" => {
                let id = arguments.value()?.string()?;
                let core = arguments.value()?.parse()?;
                return Ok(Task::Serve { id, core });
            }
            other => return Err(other.unexpected().into()),
        }
    }
    ensure!(
        settings.rounds > 0 && settings.connections > 0,
        "there has to be one"
    );
    ensure!(!settings.time.is_zero(), "--seconds is above 0");
    Ok(Task::Compare(settings, json))
}
