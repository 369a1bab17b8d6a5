//! Testing a token: whether it opens a workspace now.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::{
    rejection::{RejectionKind, TokenProblem},
    token::PresentedToken,
};

use super::{Access, Action, Secret, workspace_ref};
use crate::{
    app::App,
    caller::Caller,
    error::{AppError, ErrorCode},
};

/// Tests whether `token` opens the workspace. A right one counts as used.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenTest {
    pub(crate) workspace: String,
    pub(crate) token: Secret,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TokenTested {
    pub(crate) is_current: bool,
    /// What is wrong with it, or which one it is.
    pub(crate) words: String,
}

impl Action for TokenTest {
    type Outcome = TokenTested;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/tokens/test";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, _caller: &Caller) -> Result<TokenTested, AppError> {
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        let text = self.token.expose_secret().trim();
        let presented = PresentedToken::new(text.as_bytes());
        let rejection = match app.authority().verify(&id, presented).await {
            Ok(token) => {
                let (name, generation) = (token.name(), token.generation());
                return Ok(TokenTested {
                    is_current: true,
                    words: format!(
                        "It opens this workspace: it is {name}, generation {generation}."
                    ),
                });
            }
            Err(rejection) => rejection,
        };
        let words = match rejection.kind() {
            RejectionKind::InvalidToken(TokenProblem::WrongWorkspace) => {
                "It is a token of another workspace."
            }
            RejectionKind::InvalidToken(TokenProblem::Unknown) => {
                "It was signed here, and is not in the database: was an older backup restored?"
            }
            RejectionKind::InvalidToken(problem) if *problem != TokenProblem::NotOurs => {
                "It was a token of this workspace, and is dead: it was regenerated or revoked."
            }
            RejectionKind::InvalidToken(_) => {
                "It is no token of this server: was all of it copied?"
            }
            RejectionKind::UnsetVariable(_) => "This is the name of a variable, not what is in it.",
            RejectionKind::EmptyCredential => "There is nothing to test.",
            _ => return Err(AppError::new(ErrorCode::Unavailable, rejection.message())),
        };
        Ok(TokenTested {
            is_current: false,
            words: words.to_owned(),
        })
    }
}
