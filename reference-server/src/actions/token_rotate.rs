//! Regenerating a token: the old one is dead when this returns.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::{
    error::ErrorKind,
    id::{Generation, SlotKey},
};

use super::{
    Access, Action, ConnectionLine, Reason, Secret,
    token_create::parse_name,
    token_slot::{self, Counted},
    workspace_ref,
};
use crate::{
    app::App, audit::Note, caller::Caller, error::AppError, lifecycle, live::Topic,
    nodes::presence, people::sightings,
};

/// Replaces the live token `name` of a workspace by its next generation.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRotate {
    pub(crate) workspace: String,
    pub(crate) name: String,
    /// Why; kept in the token's history and in the audit list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Reason>,
    /// The generation that is to be replaced: if it is another one by now, nothing is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TokenRotated {
    pub(crate) secret: Secret,
    pub(crate) generation: u64,
    pub(crate) sessions_ended: usize,
    pub(crate) streams_severed: usize,
    /// From the commit until nothing of the old token was left.
    pub(crate) microseconds: u64,
    /// Who was connected with the old token.
    pub(crate) cut: Vec<ConnectionLine>,
}

impl Action for TokenRotate {
    type Outcome = TokenRotated;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens/{name}/rotate";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        let reason = self.reason.map_or("", Reason::words);
        Some(
            Note::new("token.rotate")
                .about(&self.name)
                .with_detail(reason),
        )
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<TokenRotated, AppError> {
        let name = parse_name(&self.name)?;
        let id = workspace_ref::find_active(app, &self.workspace).await?.id;
        let key = SlotKey::new(id, name);
        let connected = presence::connections_before_the_end(app, &key).await;
        let counted = Counted::of(app, &id, &name).await?;
        let authority = app.authority_of(caller, self.reason);
        let rotating = async {
            let receipt = match self.generation {
                None => authority.rotate(&id, &name).await,
                Some(shown) => {
                    let shown =
                        Generation::from_number(shown).ok_or_else(token_slot::out_of_date)?;
                    authority.rotate_generation(&id, &name, shown).await
                }
            };
            receipt.map_err(|error| match error.kind() {
                ErrorKind::Conflict => token_slot::out_of_date(),
                _ => token_slot::explain(error),
            })
        };
        let receipt = lifecycle::give(app, caller, &id, rotating).await?;
        app.activity().superseded(&key, false, &receipt.ended);
        if let Some(counted) = counted {
            counted.keep(app).await;
        }
        let (generation, ended) = (receipt.token.generation(), receipt.ended);
        let before = generation.number().saturating_sub(1);
        app.activity()
            .note_cut(app.database(), key, before, &connected)
            .await;
        tracing::info!(
            workspace = %id, token = %name, %generation,
            sessions = ended.sessions, streams = ended.streams, calls = ended.calls,
            left_behind = ended.left_behind, elapsed = ?ended.elapsed,
            "token regenerated"
        );
        sightings::note_shown(app, caller, &id, &receipt.token).await;
        app.live().announce(Some(&id), Topic::Tokens);
        Ok(TokenRotated {
            microseconds: u64::try_from(ended.elapsed.as_micros()).unwrap_or(u64::MAX),
            cut: connected.iter().map(ConnectionLine::of).collect(),
            secret: Secret::of(&receipt.token),
            generation: generation.number(),
            sessions_ended: ended.sessions,
            streams_severed: ended.streams,
        })
    }
}
