//! Accepting a workspace: it changes hands, and no token that the former owner has seen stays alive.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::{
    authority::{EndedUses, RotationReceipt, TokenAuthority, TokenState},
    error::{Error as TokenError, ErrorKind},
    id::{SlotKey, TokenName, WorkspaceId},
};

use super::{Access, Action, Reason, Secret, workspace_ref};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    error::{AppError, ErrorCode},
    lifecycle,
    live::Topic,
    people::{
        Role, User, members, sightings,
        transfers::{self, Claim},
        users,
    },
    time,
};

/// Accepts a workspace that is offered to the caller: they own it, who offered it is a member, and every
/// live token is regenerated.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransferAccept {
    pub(crate) workspace: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TransferAccepted {
    /// The new tokens, shown this once.
    pub(crate) tokens: Vec<NewSecret>,
    pub(crate) sessions_ended: usize,
    pub(crate) streams_severed: usize,
    /// Tokens that could not be regenerated, and were ended.
    pub(crate) revoked: Vec<String>,
    pub(crate) mcp_url: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct NewSecret {
    pub(crate) name: String,
    pub(crate) generation: u64,
    pub(crate) secret: Secret,
}

impl Action for TransferAccept {
    type Outcome = TransferAccepted;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/transfer/accept";
    const ACCESS: Access = Access::Member;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        Some(Note::new("transfer.accept").with_detail("every token was regenerated"))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<TransferAccepted, AppError> {
        let user = caller.person()?.user.clone();
        // Alone: who is given a token by this server would otherwise be refused it at the last moment.
        let _alone = app.lifecycle().write().await;
        let id = workspace_ref::find_active(app, &self.workspace).await?.id;
        app.refuse_if_locked(&id)?;
        let claim = change_hands(app, id, user).await?;
        let mut accepted = TransferAccepted {
            tokens: Vec::new(),
            sessions_ended: 0,
            streams_severed: 0,
            revoked: Vec::new(),
            mcp_url: app.addresses().mcp_url(&id),
        };
        if let Err(error) = regenerate_all(app, caller, &id, &mut accepted).await {
            // Nobody sees the tokens that were made, and those that were not are the former owner's.
            app.finish_transfer(&id, claim).await?;
            return Err(error);
        }
        let finishing = app
            .database()
            .write(move |transaction| transfers::finish(transaction, &id, claim));
        if !finishing.await? {
            return Err(AppError::new(
                ErrorCode::Conflict,
                "the workspace is yours, but it took so long that its tokens were ended: make new ones",
            ));
        }
        // It may have been archived by another server: then its tokens have ended.
        lifecycle::check(app, caller, &id).await?;
        app.live().announce(Some(&id), Topic::People);
        app.live().announce(Some(&id), Topic::Settings);
        app.live().announce(Some(&id), Topic::Tokens);
        Ok(accepted)
    }
}

/// First the roles, with a mark that the tokens are to follow: if this is interrupted, the next start of
/// the server ends them, or another server does. Until then nobody is given a token.
async fn change_hands(app: &App, id: WorkspaceId, user: User) -> Result<Claim, AppError> {
    app.database()
        .write(move |transaction| {
            let now = time::now();
            let transfer = transfers::find(transaction, &id, now)?;
            let Some(transfer) = transfer.filter(|transfer| transfer.to == user.id) else {
                return Err(AppError::new(
                    ErrorCode::Conflict,
                    "the workspace is not offered to you, or not any longer",
                ));
            };
            // Whoever offered it may have lost the right to since.
            let giver = users::find(transaction, &transfer.by)?;
            let role = members::role(transaction, &id, &transfer.by)?;
            let may_give = giver.is_some_and(|giver| {
                !giver.is_disabled && (giver.is_administrator || role == Some(Role::Owner))
            });
            if !may_give {
                return Err(AppError::new(
                    ErrorCode::Conflict,
                    "who offered the workspace does not own it any longer: ask an owner for an offer",
                ));
            }
            members::set(transaction, &id, &user.id, Role::Owner, now)?;
            if role.is_some() {
                members::set(transaction, &id, &transfer.by, Role::Member, now)?;
            }
            Ok(transfers::accept(transaction, &id, now)?)
        })
        .await
}

async fn regenerate_all(
    app: &App,
    caller: &Caller,
    id: &WorkspaceId,
    accepted: &mut TransferAccepted,
) -> Result<(), AppError> {
    let authority = app.authority_of(caller, Some(Reason::HandOff));
    let tokens = authority.list(id).await?;
    let live = tokens
        .into_iter()
        .filter(|token| token.state == TokenState::Active);
    for token in live {
        let key = SlotKey::new(*id, token.name);
        let mut count = |ended: &EndedUses, is_revoked| {
            app.activity().superseded(&key, is_revoked, ended);
            accepted.sessions_ended += ended.sessions;
            accepted.streams_severed += ended.streams;
        };
        match regenerate(&authority, id, &token.name).await {
            Ok(receipt) => {
                count(&receipt.ended, false);
                sightings::note_shown(app, caller, id, &receipt.token).await;
                accepted.tokens.push(NewSecret {
                    name: token.name.to_string(),
                    generation: receipt.token.generation().number(),
                    secret: Secret::of(&receipt.token),
                });
            }
            // Rather dead than the former owner's.
            Err(error) => {
                tracing::warn!(workspace = %id, token = %token.name, "not regenerated: {error}");
                match authority.revoke(id, &token.name).await {
                    Ok(receipt) => count(&receipt.ended, true),
                    // Somebody else has ended it.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
                accepted.revoked.push(token.name.to_string());
            }
        }
    }
    Ok(())
}

/// Regenerates a token, also if another server has done so a moment before: whoever asked that one may be
/// the former owner.
async fn regenerate(
    authority: &TokenAuthority,
    id: &WorkspaceId,
    name: &TokenName,
) -> Result<RotationReceipt, TokenError> {
    match authority.rotate(id, name).await {
        Err(error) if error.kind() == ErrorKind::Conflict => authority.rotate(id, name).await,
        regenerated => regenerated,
    }
}
