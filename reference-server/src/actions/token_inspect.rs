//! Looking at a token: what it says of itself, and whether it is the current one.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::{
    authority::VerifiedToken,
    clock::Timestamp,
    id::WorkspaceId,
    rejection::{Rejection, RejectionKind, TokenProblem},
    token::PresentedToken,
};
use zeroize::Zeroizing;

use super::{Access, Action, Secret};
use crate::{
    app::App,
    caller::Caller,
    error::{AppError, ErrorCode},
    time,
};

/// Inspects a token. The answer holds no part of it that opens anything.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenInspect {
    pub(crate) token: Secret,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Inspection {
    /// Whether it opens its workspace now.
    pub(crate) current: bool,
    /// What it is to this server.
    pub(crate) standing: Standing,
    /// What it says of itself. Only tokens that were minted here are told of.
    pub(crate) token: Option<InspectedToken>,
    /// Why it is not current.
    pub(crate) problem: Option<String>,
}

/// What a token is to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It opens its workspace.
    Current,
    /// It was regenerated or revoked.
    Ended,
    /// Its workspace is locked, since an old copy of the database was put back.
    Locked,
    /// It was signed with a key of this server, whose database does not know it.
    NotInDatabase,
    /// It is none of this server's.
    NotOurs,
}

/// The public claims.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct InspectedToken {
    pub(crate) workspace: String,
    pub(crate) name: String,
    pub(crate) generation: u64,
    /// In RFC 3339.
    pub(crate) issued_at: String,
    /// Its public id, if it is current.
    pub(crate) id: Option<String>,
}

impl Action for TokenInspect {
    type Outcome = Inspection;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/tokens/inspect";
    const ACCESS: Access = Access::Administrator;

    async fn run(self, app: &App, _caller: &Caller) -> Result<Inspection, AppError> {
        let text = self.token.expose_secret().trim();
        let Some(claims) = PublicClaims::read(text) else {
            return Ok(Inspection::not_ours());
        };
        let Ok(workspace) = claims.aud.parse::<WorkspaceId>() else {
            return Ok(Inspection::not_ours());
        };
        let presented = PresentedToken::new(text.as_bytes());
        match app.authority().verify(&workspace, presented).await {
            Ok(verified) => Ok(Inspection::current(&claims, &verified)),
            Err(rejection) => Inspection::of_rejection(&claims, &rejection),
        }
    }
}

impl Inspection {
    fn current(claims: &PublicClaims, verified: &VerifiedToken) -> Self {
        let id = Some(verified.token_id().to_string());
        Self {
            current: true,
            standing: Standing::Current,
            token: Some(InspectedToken {
                id,
                ..claims.to_token()
            }),
            problem: None,
        }
    }

    fn of_rejection(claims: &PublicClaims, rejection: &Rejection) -> Result<Self, AppError> {
        match rejection.kind() {
            // The MAC was right, so the claims are ours.
            RejectionKind::InvalidToken(TokenProblem::Superseded) => Ok(Self::refused(
                Standing::Ended,
                Some(claims),
                "it was regenerated or revoked",
            )),
            RejectionKind::InvalidToken(TokenProblem::Unknown) => Ok(Self::refused(
                Standing::NotInDatabase,
                Some(claims),
                "it was signed with this server's key and is not in its database",
            )),
            RejectionKind::InvalidToken(TokenProblem::Locked) => Ok(Self::refused(
                Standing::Locked,
                Some(claims),
                "its workspace is locked, since an old copy of the database was put back",
            )),
            RejectionKind::InvalidToken(_) => Ok(Self::not_ours()),
            _ => Err(AppError::new(ErrorCode::Unavailable, rejection.message())),
        }
    }

    fn not_ours() -> Self {
        Self::refused(Standing::NotOurs, None, NOT_OURS)
    }

    fn refused(standing: Standing, claims: Option<&PublicClaims>, problem: &str) -> Self {
        Self {
            current: false,
            standing,
            token: claims.map(PublicClaims::to_token),
            problem: Some(problem.to_owned()),
        }
    }
}

/// What a token says, before it is known whether it is true: shown only if it is.
#[derive(Deserialize)]
struct PublicClaims {
    aud: String,
    r#gen: u64,
    iat: u64,
    sub: String,
}

impl PublicClaims {
    fn read(token: &str) -> Option<Self> {
        if token.len() > MAX_LENGTH {
            return None;
        }
        let payload = token.split('.').nth(1)?;
        // Holds the secret claim as well.
        let json = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?);
        serde_json::from_slice(&json).ok()
    }

    fn to_token(&self) -> InspectedToken {
        InspectedToken {
            workspace: self.aud.clone(),
            name: self.sub.clone(),
            generation: self.r#gen,
            issued_at: time::show(Timestamp::from_secs(self.iat)),
            id: None,
        }
    }
}

const NOT_OURS: &str = "it is not a workspace token of this server";
const MAX_LENGTH: usize = 4096;
