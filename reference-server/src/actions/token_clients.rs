//! The clients of a token: who is connected, whom a rotation would cut off, and who has come back since.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::id::SlotKey;

use super::{Access, Action, ConnectionLine, token_create::parse_name, token_slot, workspace_ref};
use crate::{
    activity::{
        self, Seen,
        store::{self, KnownClient},
    },
    app::App,
    caller::Caller,
    error::{AppError, ErrorCode},
    nodes::presence,
    time,
};

/// Shows the connections of the token `name`, and every client that has used it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenClients {
    pub(crate) workspace: String,
    pub(crate) name: String,
    /// A time in RFC 3339, as that of a rotation: who was seen with the current generation since then is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TokenClientLines {
    /// The current generation of the token.
    pub(crate) generation: u64,
    /// Who is connected now, idle sessions included: whom a rotation would cut off.
    pub(crate) connections: Vec<ConnectionLine>,
    /// The one that was seen last is first.
    pub(crate) clients: Vec<ClientLine>,
}

/// A client that has used the token from one address.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ClientLine {
    /// As people know it: `Claude Code`.
    pub(crate) client: String,
    /// As it names itself: `claude-code`. May be empty.
    pub(crate) client_name: String,
    pub(crate) version: String,
    pub(crate) address: Option<String>,
    /// The generation that it used last.
    pub(crate) generation: u64,
    /// In RFC 3339.
    pub(crate) first_at: String,
    /// In RFC 3339.
    pub(crate) last_at: String,
    pub(crate) is_connected: bool,
    /// Whether it has used the current generation since the time that was asked for, or ever.
    pub(crate) is_back: bool,
    /// The generation with which a rotation has cut it off last, if one has.
    pub(crate) cut_generation: Option<u64>,
    /// Whether it had nothing but idle sessions then.
    pub(crate) was_idle: bool,
    /// `Claude Code 2.1.330 at 10.0.0.5`.
    pub(crate) words: String,
}

impl Action for TokenClients {
    type Outcome = TokenClientLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens/{name}/clients";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<TokenClientLines, AppError> {
        let name = parse_name(&self.name)?;
        let since = self.since.as_deref().map(parse_time).transpose()?;
        let workspace = workspace_ref::find(app, &self.workspace).await?.id;
        let tokens = app.authority().list(&workspace).await?;
        let token = tokens.iter().find(|token| token.name == name);
        let generation = token.map(|token| token.generation.number());
        let generation = generation.ok_or_else(token_slot::not_found)?;
        app.activity().flush(app.database()).await;
        let known = app
            .database()
            .read(move |snapshot| store::clients(snapshot, &workspace))
            .await?;
        let live = presence::connections_of(app, &SlotKey::new(workspace, name)).await?;
        let of_slot = known.iter().filter(|client| client.slot == name.as_str());
        let is_back = |client: &KnownClient| {
            client.generation == generation && since.is_none_or(|since| client.last_at >= since)
        };
        Ok(TokenClientLines {
            generation,
            clients: of_slot
                .map(|client| ClientLine::of(client, &live, is_back(client)))
                .collect(),
            connections: live.iter().map(ConnectionLine::of).collect(),
        })
    }
}

impl ClientLine {
    fn of(known: &KnownClient, live: &[Seen], is_back: bool) -> Self {
        let is_connected = live.iter().any(|connection| {
            let is_its = connection.client.name == known.client.name;
            connection.is_live && is_its && connection.address == known.address
        });
        Self {
            client: known.client.title().to_owned(),
            client_name: known.client.name.clone(),
            version: known.client.version.clone(),
            address: known.address.map(|address| address.to_string()),
            generation: known.generation,
            first_at: time::rfc3339(known.first_at),
            last_at: time::rfc3339(known.last_at),
            is_connected,
            is_back,
            cut_generation: known.cut.map(|cut| cut.generation),
            was_idle: known.cut.is_some_and(|cut| cut.is_idle),
            words: activity::who_and_where(&known.client, known.address),
        }
    }
}

fn parse_time(text: &str) -> Result<i64, AppError> {
    time::parse(text).ok_or_else(|| {
        AppError::new(
            ErrorCode::InvalidArgument,
            "`since` is no time: write it as in 2026-07-28T12:00:00Z",
        )
    })
}
