//! Progress on standard error: a bar on a terminal, a line now and then elsewhere, nothing with `--json`.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tower_workspace_token::clock::{Clock as _, Moment, SystemClock};

use super::output::Output;

/// Shows how far long work has come.
#[derive(Debug)]
pub(super) struct Progress {
    face: Face,
    unit: Unit,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Bytes,
    Rows,
    Seconds,
    Tokens,
}

#[derive(Debug)]
enum Face {
    Bar(ProgressBar),
    Lines {
        what: &'static str,
        output: Output,
        last: Moment,
    },
    Nothing,
}

impl Progress {
    /// Begins to show `what` is being done.
    pub(super) fn new(output: Output, what: &'static str, unit: Unit) -> Self {
        let face = if output.is_json() {
            Face::Nothing
        } else if io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            bar.set_style(style(unit));
            bar.set_message(what);
            Face::Bar(bar)
        } else {
            let last = SystemClock.moment();
            Face::Lines { what, output, last }
        };
        Self { face, unit }
    }

    /// Shows that `done` of `total` is done; nothing as long as the total is not known.
    pub(super) fn set(&mut self, done: u64, total: u64) {
        if total == 0 {
            return;
        }
        match &mut self.face {
            Face::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(done);
            }
            Face::Lines { what, output, last } => {
                let now = SystemClock.moment();
                if now.saturating_since(*last) >= PAUSE {
                    *last = now;
                    output.advice(&line(what, self.unit, done, total));
                }
            }
            Face::Nothing => {}
        }
    }
}

impl Drop for Progress {
    /// Leaves the terminal to what is printed next.
    fn drop(&mut self) {
        if let Face::Bar(bar) = &self.face {
            bar.finish_and_clear();
        }
    }
}

fn style(unit: Unit) -> ProgressStyle {
    let template = match unit {
        Unit::Bytes => "{msg} [{bar:32}] {bytes} of {total_bytes}",
        Unit::Rows => "{msg} [{bar:32}] {human_pos} of {human_len} rows",
        Unit::Seconds => "{msg} [{bar:32}] {pos} of {len} s",
        Unit::Tokens => "{msg} [{bar:32}] {pos} of {len} tokens",
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn line(what: &str, unit: Unit, done: u64, total: u64) -> String {
    match unit {
        Unit::Bytes => format!("{what}: {} of {} MB", done / MEGABYTE, total / MEGABYTE),
        Unit::Rows => format!("{what}: {done} of {total} rows"),
        Unit::Seconds => format!("{what}: {done} of {total} s"),
        Unit::Tokens => format!("{what}: {done} of {total} tokens"),
    }
}

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(5);

const MEGABYTE: u64 = 1_000_000;
