//! Somebody wants it to end.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context as _;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::error::{AppError, ErrorCode};

/// Whether a signal to end has come; by default nobody listens for one.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from here on: no signal ends the process any longer before it has tidied up.
    pub(super) fn listen(runtime: &Runtime) -> anyhow::Result<Self> {
        let interrupt = Self::default();
        let _entered = runtime.enter();
        let signals = signals().context("cannot listen to signals")?;
        for mut signal in signals {
            let told = interrupt.clone();
            runtime.spawn(async move {
                while signal.recv().await.is_some() {
                    told.0.store(true, Ordering::Relaxed);
                }
            });
        }
        Ok(interrupt)
    }

    /// # Errors
    /// A signal has come.
    pub(super) fn check(&self) -> Result<(), AppError> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(AppError::new(
                ErrorCode::Failed,
                "interrupted; nothing was left behind",
            )),
            false => Ok(()),
        }
    }
}

fn signals() -> io::Result<[Signal; 3]> {
    Ok([
        signal(SignalKind::hangup())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    ])
}
