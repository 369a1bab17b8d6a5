//! `wst health`: for supervisors that have neither a shell nor an HTTP client, as in an image.

use serde::Serialize;

use super::{commands::Run, output::Output, runner::Runner};
use crate::{
    actions::WorkspaceList,
    error::{AppError, ErrorCode},
};

/// `wst health`.
#[derive(Debug)]
pub(super) struct ShowHealth;

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
}

impl Run for ShowHealth {
    async fn run(self, runner: &Runner, output: Output) -> Result<(), AppError> {
        if matches!(runner, Runner::Direct(_)) {
            return Err(AppError::new(
                ErrorCode::Unavailable,
                "no server runs on this data directory: start `wst serve`",
            ));
        }
        // Anything that the server has to read its database for.
        runner.call(WorkspaceList {}).await?;
        output.outcome(&Health { status: "ok" }, |output, health| {
            output.plain(&format!("{}\n", health.status))
        })
    }
}
