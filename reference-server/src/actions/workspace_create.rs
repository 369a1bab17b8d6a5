//! Creating a workspace, with its first token.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_workspace_token::id::{TokenName, WorkspaceId};

use super::{Access, Action, Secret, token_create::IssuedToken};
use crate::{
    app::App,
    audit::{self, Note},
    caller::Caller,
    db::{Transaction, ids},
    error::{AppError, ErrorCode},
    lifecycle,
    live::Topic,
    people::{Role, UserId, members, sightings},
    text, time, workspaces,
};

/// Creates a workspace called `name`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkspaceCreate {
    pub(crate) name: String,
    /// Chosen by whoever has noted it before; a new one else. Nobody asks for one from outside.
    #[serde(skip)]
    pub(crate) id: Option<WorkspaceId>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WorkspaceCreated {
    pub(crate) workspace: CreatedWorkspace,
    pub(crate) token: IssuedToken,
    pub(crate) secret: Secret,
    pub(crate) mcp_url: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct CreatedWorkspace {
    pub(crate) id: String,
    pub(crate) name: String,
}

impl Action for WorkspaceCreate {
    type Outcome = WorkspaceCreated;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces";
    const ACCESS: Access = Access::Person;

    async fn run(self, app: &App, caller: &Caller) -> Result<WorkspaceCreated, AppError> {
        check_name(&self.name)?;
        let id = match self.id {
            Some(id) => id,
            None => random_id()?,
        };
        let name = self.name.clone();
        let owner = caller.user().cloned();
        app.database()
            .write(move |transaction| insert(transaction, &id, &name, owner.as_ref()))
            .await?;
        let authority = app.authority_of(caller, None);
        let issuing = async {
            match authority.issue(&id, &TokenName::primary()).await {
                Ok(issued) => Ok(issued),
                Err(error) => {
                    take_back(app, id).await;
                    Err(error.into())
                }
            }
        };
        // Somebody else may have archived it by its name: then it stays as it is, without a token.
        let issued = lifecycle::give(app, caller, &id, issuing).await?;
        sightings::note_shown(app, caller, &id, &issued).await;
        // Here and not as the action's note: the entry belongs to the workspace that there is now.
        let note = Note::new("workspace.create").about(&self.name);
        audit::record(app, caller, Some(id), note).await;
        app.live().announce(Some(&id), Topic::Settings);
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

/// Adds the workspace, and makes the person who creates it its owner.
///
/// A second one of a name is refused: to people if they own the first, who may have sent a form twice; to
/// the command line, to which all are known by their names, whosever it is.
fn insert(
    transaction: &Transaction<'_>,
    id: &WorkspaceId,
    name: &str,
    owner: Option<&UserId>,
) -> Result<(), AppError> {
    let now = time::now();
    let Some(owner) = owner else {
        let namesakes = workspaces::find_by_name(transaction, name)?;
        if namesakes.iter().any(|workspace| !workspace.archived) {
            return Err(AppError::new(
                ErrorCode::AlreadyExists,
                "there is a workspace of this name already: choose another name",
            )
            .with_hint("`wst workspace list` shows it, `wst token create` makes a token for it"));
        }
        return Ok(workspaces::insert(transaction, id, name, now)?);
    };
    if workspaces::owns_one_called(transaction, owner, name)? {
        return Err(AppError::new(
            ErrorCode::AlreadyExists,
            "you own a workspace of this name already: choose another name",
        ));
    }
    workspaces::insert(transaction, id, name, now)?;
    Ok(members::set(transaction, id, owner, Role::Owner, now)?)
}

/// Returns an id that no workspace has.
pub(crate) fn random_id() -> Result<WorkspaceId, AppError> {
    let id = ids::random_id()?.parse();
    Ok(id.map_err(anyhow::Error::from)?)
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

/// Checks what a workspace is to be called.
pub(super) fn check_name(name: &str) -> Result<(), AppError> {
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
    if text::mixes_scripts(name) {
        return Err(AppError::invalid(
            "a word of this name mixes letters of several scripts, as Latin and Cyrillic ones that look the same: write each word in one",
        ));
    }
    Ok(())
}

const MAX_NAME: usize = 100;
