//! Taking somebody out of a workspace.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use super::{user_ref, workspace_ref};
use crate::{app::App, caller::Caller, db::Transaction, error::AppError};
use crate::{
    audit::Note,
    error::ErrorCode,
    live::Topic,
    people::{
        members,
        sightings::{self, Sighting},
        transfers,
    },
};
use tower_workspace_token::{authority::TokenState, id::WorkspaceId};

/// Removes a member, and says which tokens they have seen.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberRemove {
    pub(crate) workspace: String,
    /// An id or a name.
    pub(crate) user: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MemberRemoved {
    /// The live tokens whose secret they were shown: to be regenerated.
    pub(crate) tokens_seen: Vec<String>,
}

impl Action for MemberRemove {
    type Outcome = MemberRemoved;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/members/{user}/remove";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        Some(Note::new("member.remove").about(&self.user))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<MemberRemoved, AppError> {
        let _ = caller;
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        let seen = app
            .database()
            .write(move |transaction| {
                let user = user_ref::find(transaction, &self.user)?;
                let owners = members::owners(transaction, &id)?;
                if !members::remove(transaction, &id, &user.id)? {
                    return Err(AppError::new(ErrorCode::NotFound, "they are no member"));
                }
                check_owners(transaction, &id, owners)?;
                transfers::forget(transaction, &id, &user.id)?;
                let sightings = sightings::list(transaction, &id)?;
                Ok(sightings
                    .into_iter()
                    .filter(move |seen| seen.user == user.id))
            })
            .await?;
        app.live().announce(Some(&id), Topic::People);
        let tokens = app.authority().list(&id).await?;
        let is_live = |seen: &Sighting| {
            tokens.iter().any(|token| {
                token.state == TokenState::Active
                    && token.name.as_str() == seen.token
                    && token.generation.number() == seen.generation
            })
        };
        Ok(MemberRemoved {
            tokens_seen: seen.filter(is_live).map(|seen| seen.token).collect(),
        })
    }
}

/// A workspace that had owners, `before` of them, keeps one.
pub(super) fn check_owners(
    connection: &Transaction<'_>,
    workspace: &WorkspaceId,
    before: i64,
) -> Result<(), AppError> {
    if before > 0 && members::owners(connection, workspace)? == 0 {
        return Err(AppError::new(
            ErrorCode::Conflict,
            "a workspace needs an owner: make somebody else one first",
        ));
    }
    Ok(())
}
