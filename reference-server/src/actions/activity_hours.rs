//! Calls and refused requests of a workspace per hour, for a small chart.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{
    activity::store::{self, Hour, MILLIS_PER_HOUR},
    app::App,
    caller::Caller,
    error::AppError,
    time,
};

/// Shows the last 48 hours of a workspace, oldest first, the one that runs last.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActivityHours {
    pub(crate) workspace: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct HourLines {
    pub(crate) hours: Vec<HourLine>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct HourLine {
    /// When the hour began, in RFC 3339.
    pub(crate) at: String,
    pub(crate) calls: u64,
    /// Requests that were turned away, whatever the reason.
    pub(crate) rejections: u64,
}

impl Action for ActivityHours {
    type Outcome = HourLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/activity";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<HourLines, AppError> {
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        app.activity().flush(app.database()).await;
        let now = time::now();
        let hours = app
            .database()
            .read(move |snapshot| store::hours(snapshot, &id, now))
            .await?;
        Ok(HourLines {
            hours: hours.iter().map(HourLine::of).collect(),
        })
    }
}

impl HourLine {
    fn of(hour: &Hour) -> Self {
        Self {
            at: time::rfc3339(hour.hour * MILLIS_PER_HOUR),
            calls: hour.calls,
            rejections: hour.rejections,
        }
    }
}
