//! Listing who is connected to a workspace.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, workspace_ref};
use crate::{activity::Seen, app::App, caller::Caller, error::AppError, nodes::presence, time};

/// Lists the connections of a workspace, idle sessions included, oldest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionList {
    pub(crate) workspace: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ConnectionLines {
    pub(crate) connections: Vec<ConnectionLine>,
}

/// A connection. What it says of the client is the client's own word.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ConnectionLine {
    pub(crate) id: String,
    /// As people know it: `Claude Code`.
    pub(crate) client: String,
    /// As it names itself: `claude-code`. May be empty.
    pub(crate) client_name: String,
    pub(crate) version: String,
    /// `legacy`, a session, or `modern`, which counts as connected for 60 s after it was last seen.
    pub(crate) era: String,
    /// The name of the token.
    pub(crate) token: String,
    pub(crate) token_id: String,
    pub(crate) generation: u64,
    pub(crate) address: Option<String>,
    /// In RFC 3339.
    pub(crate) since: String,
    /// When a call or stream last began or ended, in RFC 3339.
    pub(crate) last_seen_at: String,
    pub(crate) calls: u64,
    /// Calls that are not answered yet.
    pub(crate) running: usize,
    /// Open streams on which the server sends what it wants.
    pub(crate) streams: usize,
    /// Whether somebody is there, as far as one can tell: a call runs, a stream is open, or it was seen in
    /// the last 3 minutes. Else it is a session that holds, and idle since `last_seen_at`.
    pub(crate) is_live: bool,
    /// `Claude Code 2.1.330 at 10.0.0.5`.
    pub(crate) words: String,
}

impl Action for ConnectionList {
    type Outcome = ConnectionLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/connections";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<ConnectionLines, AppError> {
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        let connections = presence::connections(app, &id).await?;
        Ok(ConnectionLines {
            connections: connections.iter().map(ConnectionLine::of).collect(),
        })
    }
}

impl ConnectionLine {
    pub(super) fn of(seen: &Seen) -> Self {
        let era = if seen.is_session { "legacy" } else { "modern" };
        Self {
            id: seen.id.clone(),
            client: seen.client.title().to_owned(),
            client_name: seen.client.name.clone(),
            version: seen.client.version.clone(),
            era: era.to_owned(),
            token: seen.key.name.to_string(),
            token_id: seen.token_id.clone(),
            generation: seen.generation,
            address: seen.address.map(|address| address.to_string()),
            since: time::rfc3339(seen.since),
            last_seen_at: time::rfc3339(seen.last_seen),
            calls: seen.calls,
            running: seen.running,
            streams: seen.streams,
            is_live: seen.is_live,
            words: seen.words(),
        }
    }
}
