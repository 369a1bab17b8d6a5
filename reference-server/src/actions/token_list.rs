//! Listing the tokens of a workspace.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::{
    authority::{TokenState, TokenSummary},
    id::WorkspaceId,
};

use super::{Access, Action, workspace_ref};
use crate::{
    activity::store::{self, LastUse},
    app::App,
    caller::Caller,
    error::AppError,
    nodes::presence,
    time,
};

/// Lists the tokens of a workspace, revoked ones included.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenList {
    pub(crate) workspace: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TokenLines {
    pub(crate) tokens: Vec<TokenLine>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TokenLine {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) generation: u64,
    /// `active` or `revoked`.
    pub(crate) state: String,
    /// When this generation began, in RFC 3339.
    pub(crate) created_at: String,
    /// When this generation was last used, in RFC 3339; nothing if it never was.
    pub(crate) last_used_at: Option<String>,
    /// The same, with what is known of who used it.
    pub(crate) last_used: Option<LastUsed>,
    /// When the generation before was last used, and by whom: what is asked of a token that was regenerated
    /// or revoked because somebody else may have had it. Nothing if it never was, or if that is not known.
    pub(crate) last_used_before: Option<LastUsedBefore>,
    /// Who made this generation, or ended it.
    pub(crate) created_by: Option<String>,
    /// How many live connections there are.
    pub(crate) connections: usize,
    /// How many sessions hold and are idle.
    pub(crate) idle_sessions: usize,
}

/// The last use of a token.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LastUsed {
    /// In RFC 3339.
    pub(crate) at: String,
    /// As people know it: `Claude Code`. Nothing if all that is known is that somebody used the token.
    pub(crate) client: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) address: Option<String>,
}

/// The last use of an earlier generation of a token.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LastUsedBefore {
    /// The latest that was used and is over.
    pub(crate) generation: u64,
    #[serde(flatten)]
    pub(crate) used: LastUsed,
}

impl Action for TokenList {
    type Outcome = TokenLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<TokenLines, AppError> {
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        app.activity().flush(app.database()).await;
        let tokens = app.authority().list(&id).await?;
        let last_uses = app
            .database()
            .read(move |snapshot| store::last_uses(snapshot, &id))
            .await?;
        let there = presence::connections(app, &id).await?;
        let mut lines = Vec::with_capacity(tokens.len());
        for token in &tokens {
            let last_uses = last_uses.get(token.name.as_str());
            let connections = there.iter().filter(|seen| seen.key.name == token.name);
            let (live, idle): (Vec<_>, Vec<_>) = connections.partition(|seen| seen.is_live);
            lines.push(TokenLine {
                created_by: created_by(app, &id, token).await?,
                connections: live.len(),
                idle_sessions: idle.len(),
                ..TokenLine::of(token, last_uses.map_or(&[], Vec::as_slice))
            });
        }
        Ok(TokenLines { tokens: lines })
    }
}

/// Finds in the history who began the generation.
async fn created_by(
    app: &App,
    workspace: &WorkspaceId,
    token: &TokenSummary,
) -> Result<Option<String>, AppError> {
    let history = app.authority().history(workspace, &token.name).await?;
    let mut latest_first = history.into_iter().rev();
    let began = latest_first.find(|event| event.generation == token.generation);
    Ok(began.and_then(|event| event.actor))
}

impl TokenLine {
    /// Of the uses, that of the latest generation is the first.
    fn of(token: &TokenSummary, last_uses: &[LastUse]) -> Self {
        let generation = token.generation.number();
        let state = match token.state {
            TokenState::Active => "active",
            TokenState::Revoked => "revoked",
        };
        // One counts who was let in, the other who reached the tools: a use is what either has seen.
        let last_use = last_uses.iter().find(|used| used.generation == generation);
        let before = last_uses.iter().find(|used| used.generation < generation);
        let counted = token.last_used_at.map(time::column);
        let at = counted.max(last_use.map(|last_use| last_use.at));
        let at = at.map(time::rfc3339);
        Self {
            id: token.id.to_string(),
            name: token.name.to_string(),
            generation,
            state: state.to_owned(),
            created_at: time::show(token.changed_at),
            last_used: at.clone().map(|at| LastUsed::of(at, last_use)),
            last_used_at: at,
            last_used_before: before.map(|before| LastUsedBefore {
                generation: before.generation,
                used: LastUsed::of(time::rfc3339(before.at), Some(before)),
            }),
            created_by: None,
            connections: 0,
            idle_sessions: 0,
        }
    }
}

impl LastUsed {
    fn of(at: String, last_use: Option<&LastUse>) -> Self {
        let client = last_use.and_then(|last_use| last_use.client.as_ref());
        let version = client.map(|client| client.version.clone());
        Self {
            at,
            client: client.map(|client| client.title().to_owned()),
            version: version.filter(|version| !version.is_empty()),
            address: last_use
                .and_then(|last_use| last_use.address)
                .map(|address| address.to_string()),
        }
    }

    /// Says who it was, as in `by Claude Code 2.1.330 at 10.0.0.5`; nothing if that is not known.
    pub(crate) fn by_whom(&self) -> String {
        let parts = [
            ("by", &self.client),
            ("", &self.version),
            ("at", &self.address),
        ];
        let known = parts
            .iter()
            .filter_map(|(word, part)| Some((word, part.as_ref()?)));
        let words: Vec<&str> = known
            .flat_map(|(word, part)| [*word, part.as_str()])
            .filter(|word| !word.is_empty())
            .collect();
        words.join(" ")
    }
}
