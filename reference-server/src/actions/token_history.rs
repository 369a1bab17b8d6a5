//! What happened to a token.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::store::{HistoryEvent, HistoryEventKind};

use super::{Access, Action, token_create::parse_name, workspace_ref};
use crate::{app::App, caller::Caller, error::AppError, time};

/// Lists what happened to the token `name`, the latest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenHistory {
    pub(crate) workspace: String,
    pub(crate) name: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct HistoryLines {
    pub(crate) events: Vec<HistoryLine>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct HistoryLine {
    /// `created`, `regenerated` or `revoked`.
    pub(crate) what: String,
    pub(crate) generation: u64,
    /// The public id of the token that it made or ended.
    pub(crate) id: String,
    /// In RFC 3339.
    pub(crate) at: String,
    pub(crate) by: Option<String>,
    pub(crate) reason: Option<String>,
}

impl Action for TokenHistory {
    type Outcome = HistoryLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens/{name}/history";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<HistoryLines, AppError> {
        let name = parse_name(&self.name)?;
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        let events = app.authority().history(&id, &name).await?;
        Ok(HistoryLines {
            events: events.into_iter().rev().map(HistoryLine::of).collect(),
        })
    }
}

impl HistoryLine {
    fn of(event: HistoryEvent) -> Self {
        let what = match event.kind {
            HistoryEventKind::Issued => "created",
            HistoryEventKind::Revoked => "revoked",
            HistoryEventKind::Rotated => "regenerated",
        };
        Self {
            what: what.to_owned(),
            generation: event.generation.number(),
            id: event.token_id.to_string(),
            at: time::show(event.at),
            by: event.actor,
            reason: event.reason,
        }
    }
}
