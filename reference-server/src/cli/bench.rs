//! `wst bench`.

use std::time::Duration;

use super::{
    args::{BenchCommand, MOST_THREADS, ValidateOptions},
    output::Output,
    progress::{Progress, Unit},
};
use crate::{
    bench::{self, Figures, Place, Plan, Report, Stage},
    config::{GlobalOptions, Origin, ServerOptions, Settings},
    data_dir::DataDir,
    error::{AppError, ErrorCode},
    logging,
    text::counted,
};

/// Measures, without asking a server, and beside one that runs.
pub(super) fn bench(
    global: &GlobalOptions,
    output: Output,
    command: BenchCommand,
) -> Result<(), AppError> {
    let settings = Settings::settle(global, ServerOptions::from_variables()?)?;
    if global.log.is_some() {
        logging::start(&settings.log)?;
    }
    match command {
        BenchCommand::Validate(options) => validate(&settings, output, &options),
    }
}

fn validate(
    settings: &Settings,
    output: Output,
    options: &ValidateOptions,
) -> Result<(), AppError> {
    let threads = match options.threads {
        Some(threads) => threads as usize,
        None => bench::cores()?.min(MOST_THREADS as usize),
    };
    let plan = Plan {
        duration: Duration::from_secs(options.seconds),
        threads,
        tokens: options.tokens as usize,
    };
    let place = place(settings)?;
    if !output.is_json() {
        announce(output, &place);
    }
    let mut shown = Shown::new(output);
    let report = bench::validate(plan, &place, &mut |stage, done, total| {
        shown.set(stage, done, total);
    });
    drop(shown);
    output.outcome(&report?, |output, report| output.plain(&table(report)))
}

/// Finds the directory for the database that is measured.
fn place(settings: &Settings) -> Result<Place, AppError> {
    match DataDir::open(&settings.data_dir) {
        Ok(data_dir) => Ok(Place::DataDir(data_dir.path().to_owned())),
        // Whoever names one means that one.
        Err(error)
            if error.code() == ErrorCode::NoDataDir
                && settings.data_dir_origin() != Origin::CommandLine =>
        {
            Ok(Place::Temporary)
        }
        Err(error) => Err(error),
    }
}

fn announce(output: Output, place: &Place) {
    let path = place.path();
    let where_it_is = match place {
        Place::DataDir(_) => format!("the data directory {}", path.display()),
        Place::Temporary => format!("{}, since there is no data directory", path.display()),
    };
    output.advice(&format!(
        "measuring with a database of its own in {where_it_is}; it is removed afterwards"
    ));
    if cfg!(debug_assertions) {
        output.advice("this program is a debug build: its figures say nothing");
    }
}

/// The progress of what is under way.
struct Shown {
    output: Output,
    current: Option<(Stage, Progress)>,
}

impl Shown {
    fn new(output: Output) -> Self {
        Self {
            output,
            current: None,
        }
    }

    fn set(&mut self, stage: Stage, done: u64, total: u64) {
        if self
            .current
            .as_ref()
            .is_none_or(|(shown, _)| *shown != stage)
        {
            // The one before leaves the terminal first.
            self.current = None;
            let (what, unit) = match stage {
                Stage::Measuring => ("measuring", Unit::Seconds),
                Stage::Preparing => ("issuing tokens", Unit::Tokens),
            };
            self.current = Some((stage, Progress::new(self.output, what, unit)));
        }
        if let Some((_, progress)) = &mut self.current {
            progress.set(done, total);
        }
    }
}

fn table(report: &Report) -> String {
    let paths = &report.paths;
    let baseline = paths.jsonwebtoken_decode;
    let head = ["", "p50", "p99", "per second", "per core", "to decode"];
    let rows = [
        ("warm", paths.warm),
        ("cold", paths.cold),
        ("wrong signature", paths.wrong_signature),
        ("garbage", paths.garbage),
        ("jsonwebtoken::decode", baseline),
    ];
    let rows = rows.map(|(name, figures)| row(name, figures, baseline));
    let machine = &report.machine;
    line(&head.map(str::to_owned))
        + &rows.concat()
        + &format!(
            "{}, {} by turns, {} s; {} ns for reading the clock are subtracted\n",
            counted(report.threads, "thread"),
            counted(report.tokens, "token"),
            report.seconds,
            report.clock_ns
        )
        + &format!(
            "{}, {}\n",
            machine.cpu.as_deref().unwrap_or(machine.architecture),
            counted(machine.cores, "core")
        )
}

fn row(name: &str, figures: Figures, baseline: Figures) -> String {
    let ratio = figures.ops_per_s as f64 / baseline.ops_per_s as f64;
    line(&[
        name.to_owned(),
        duration(figures.p50_ns),
        duration(figures.p99_ns),
        grouped(figures.ops_per_s),
        grouped(figures.ops_per_s_per_core),
        format!("{ratio:.2} ×"),
    ])
}

fn line([name, p50, p99, per_second, per_core, ratio]: &[String; 6]) -> String {
    format!("{name:<20} {p50:>9} {p99:>9} {per_second:>13} {per_core:>13} {ratio:>10}\n")
}

/// Writes nanoseconds in the unit that leaves the fewest digits.
fn duration(nanos: u64) -> String {
    match nanos {
        0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{:.1} µs", nanos as f64 / 1e3),
        _ => format!("{:.1} ms", nanos as f64 / 1e6),
    }
}

/// Writes a number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        let written = [0, 999, 1000, 12_345_678].map(grouped);
        assert_eq!(written, ["0", "999", "1,000", "12,345,678"]);
        let written = [7, 9_999, 10_000, 12_345_678].map(duration);
        assert_eq!(written, ["7 ns", "9999 ns", "10.0 µs", "12.3 ms"]);
    }
}
