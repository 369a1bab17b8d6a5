//! Creating a workspace, with its first token.

use http::Method;
use serde::{Deserialize, Serialize};
use tower_workspace_token::id::{TokenName, WorkspaceId};

use super::{Action, Secret, token_create::IssuedToken};
use crate::{app::App, db::ids, error::AppError, time, workspaces};

/// Creates a workspace called `name`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkspaceCreate {
    pub(crate) name: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WorkspaceCreated {
    pub(crate) workspace: CreatedWorkspace,
    pub(crate) token: IssuedToken,
    pub(crate) secret: Secret,
    pub(crate) mcp_url: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CreatedWorkspace {
    pub(crate) id: String,
    pub(crate) name: String,
}

impl Action for WorkspaceCreate {
    type Outcome = WorkspaceCreated;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces";

    async fn run(self, app: &App) -> Result<WorkspaceCreated, AppError> {
        check_name(&self.name)?;
        let id: WorkspaceId = ids::random_id()?.parse().map_err(anyhow::Error::from)?;
        let name = self.name.clone();
        // Whoever archives it by its name waits until its token is there to be revoked.
        let _not_archived_meanwhile = app.lifecycle().read().await;
        app.database()
            .write(move |transaction| workspaces::insert(transaction, &id, &name, time::now()))
            .await?;
        let issued = match app.authority().issue(&id, &TokenName::primary()).await {
            Ok(issued) => issued,
            Err(error) => {
                take_back(app, id).await;
                return Err(error.into());
            }
        };
        Ok(WorkspaceCreated {
            workspace: CreatedWorkspace {
                id: id.to_string(),
                name: self.name,
            },
            token: IssuedToken::of(&issued),
            secret: Secret::of(&issued),
            mcp_url: app.addresses().mcp_url(&id),
        })
    }
}

/// Takes the workspace away again whose token could not be issued: nobody has its id yet.
async fn take_back(app: &App, id: WorkspaceId) {
    let deleted = app
        .database()
        .write(move |transaction| workspaces::delete(transaction, &id))
        .await;
    if let Err(error) = deleted {
        tracing::warn!(workspace = %id, "a workspace without a token stays behind: {error}");
    }
}

fn check_name(name: &str) -> Result<(), AppError> {
    if name.trim() != name || name.is_empty() {
        return Err(AppError::invalid(
            "a workspace needs a name, without spaces around it",
        ));
    }
    if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(AppError::invalid(
            "a workspace's name is one line of at most 100 characters",
        ));
    }
    Ok(())
}

const MAX_NAME: usize = 100;
