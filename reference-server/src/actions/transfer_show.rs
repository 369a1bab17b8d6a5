//! Showing the offer of a workspace.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{
    app::App,
    caller::Caller,
    error::AppError,
    people::transfers::{self, Transfer},
    time,
};

/// Shows to whom a workspace is offered, if it is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferShow {
    pub(crate) workspace: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TransferShown {
    pub(crate) transfer: Option<TransferLine>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TransferLine {
    /// The id of the user who offers it.
    pub(crate) by: String,
    pub(crate) by_name: String,
    /// The id of the user to whom it is offered.
    pub(crate) to: String,
    pub(crate) to_name: String,
    /// In RFC 3339.
    pub(crate) at: String,
}

impl TransferLine {
    pub(super) fn of(transfer: Transfer) -> Self {
        Self {
            by: transfer.by.to_string(),
            by_name: transfer.by_name,
            to: transfer.to.to_string(),
            to_name: transfer.to_name,
            at: time::rfc3339(transfer.at),
        }
    }
}

impl Action for TransferShow {
    type Outcome = TransferShown;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/transfer";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<TransferShown, AppError> {
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        let found = app
            .database()
            .read(move |snapshot| transfers::find(snapshot, &id, time::now()))
            .await?;
        Ok(TransferShown {
            transfer: found.map(TransferLine::of),
        })
    }
}
