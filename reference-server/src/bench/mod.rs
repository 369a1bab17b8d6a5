//! `wst bench validate`: what it costs to validate a token, on this machine and on this disk.
//!
//! It issues tokens of its own into a database of its own, which is gone afterwards: nothing of the
//! user's is read or written, so it runs beside a server as well as without one. What is measured is
//! [`TokenAuthority::verify`](tower_workspace_token::TokenAuthority::verify), as the token layer calls
//! it, from as many threads as were asked for.
//!
//! | file | holds |
//! |---|---|
//! | `scratch` | the folder of that database, which never stays behind |
//! | `material` | the tokens, and the authority that has seen them |
//! | `path` | what is measured: one operation each |
//! | `baseline` | the one that others are compared with, `jsonwebtoken::decode` |
//! | `rounds` | threads, slices and rounds |
//! | `histogram` | durations, counted |
//! | `report` | the figures that come of it |

mod baseline;
mod histogram;
mod interrupt;
mod material;
mod path;
mod report;
mod rounds;
mod scratch;

use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::error::AppError;
use interrupt::Interrupt;
use material::Material;
pub(crate) use report::{Figures, Report, cores};
pub(crate) use scratch::Place;
use scratch::Scratch;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How long to measure; what is prepared comes on top.
    pub(crate) duration: Duration,
    pub(crate) threads: usize,
    /// How many tokens are checked by turns.
    pub(crate) tokens: usize,
}

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Counted in seconds.
    Measuring,
    /// Counted in tokens.
    Preparing,
}

/// Hears how much is done of how much.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(Stage, u64, u64);

/// Measures by `plan`, with a database in `place`.
///
/// # Errors
/// The disk is full or takes no writes, there are no more threads to be had, or somebody has sent SIGINT,
/// SIGTERM or SIGHUP.
pub(crate) fn validate(plan: Plan, place: &Place, watch: Watch<'_>) -> Result<Report, AppError> {
    // What the authorities do beside: last uses are noted by it, as in the server.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start a thread")?;
    // Before there is anything that a signal could leave behind.
    let interrupt = Interrupt::listen(&runtime)?;
    allow_open_files();
    let scratch = Scratch::create(place)?;
    let report = measure(plan, &scratch, &runtime, &interrupt, watch);
    // First, so that nobody writes into the folder while it is taken away.
    drop(runtime);
    scratch.remove()?;
    report
}

/// Takes as many open files as the system gives: each thread that reads the database has two.
fn allow_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // With fewer threads what there is may do.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn measure(
    plan: Plan,
    scratch: &Scratch,
    runtime: &tokio::runtime::Runtime,
    interrupt: &Interrupt,
    watch: Watch<'_>,
) -> Result<Report, AppError> {
    let mut prepared = |done, total| watch(Stage::Preparing, done, total);
    let database = scratch.database();
    let material = Material::prepare(plan, &database, runtime, interrupt, &mut prepared)?;
    let mut measured = |done, total| watch(Stage::Measuring, done, total);
    let measurements = rounds::measure(plan, &material, interrupt, &mut measured)?;
    Report::new(plan, scratch, &measurements)
}
