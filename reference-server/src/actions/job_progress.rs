//! Asking how far a backup or a rewrap has come.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use crate::{app::App, caller::Caller, error::AppError, progress::JobKind};

/// Asks how far long work has come.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobProgress {
    pub(crate) job: JobKind,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct JobStanding {
    pub(crate) done: u64,
    /// 0 as long as it is not known.
    pub(crate) total: u64,
}

impl Action for JobProgress {
    type Outcome = JobStanding;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/server/jobs/{job}";
    const ACCESS: Access = Access::Administrator;

    async fn run(self, app: &App, _caller: &Caller) -> Result<JobStanding, AppError> {
        let (done, total) = app.jobs().get(self.job).standing();
        Ok(JobStanding { done, total })
    }
}
