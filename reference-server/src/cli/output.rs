//! What is printed where: results on standard output, advice and errors on standard error.

use std::io::{self, Write as _};

use anyhow::Context as _;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{actions::Secret, error::AppError};

/// Prints for people, or JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// Prints `outcome` as JSON if that was asked for, else whatever `for_people` prints.
    pub(super) fn outcome<T: Serialize>(
        self,
        outcome: &T,
        for_people: impl FnOnce(Self, &T) -> Result<(), AppError>,
    ) -> Result<(), AppError> {
        if !self.json {
            return for_people(self, outcome);
        }
        // Room for any token, so that its text does not move while it grows.
        let mut json = Zeroizing::new(Vec::with_capacity(8 * 1024));
        serde_json::to_writer(&mut *json, outcome).context("cannot write JSON")?;
        json.push(b'\n');
        print(&json)
    }

    /// Prints a secret alone, so that it can be piped where it belongs.
    pub(super) fn secret(self, secret: &Secret) -> Result<(), AppError> {
        print(secret.expose_secret().as_bytes())?;
        print(b"\n")
    }

    /// Prints lines as they are.
    pub(super) fn plain(self, text: &str) -> Result<(), AppError> {
        print(text.as_bytes())
    }

    /// Prints bytes as they are.
    pub(super) fn bytes(self, bytes: &[u8]) -> Result<(), AppError> {
        print(bytes)
    }

    /// Tells what to do next.
    pub(super) fn advice(self, text: &str) {
        // Advice that nobody can read is no reason to fail.
        let _ = writeln!(io::stderr(), "{text}");
    }

    pub(super) fn error(self, error: &AppError) {
        let text = if self.json {
            serde_json::to_string(&error.to_body()).unwrap_or_else(|_| error.for_operator())
        } else {
            format!("error: {}", error.for_operator())
        };
        let _ = writeln!(io::stderr(), "{text}");
    }
}

fn print(bytes: &[u8]) -> Result<(), AppError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .context("cannot write to standard output")?;
    Ok(())
}
