//! The workspace of the demo and its tasks, made as the operator would, by actions.

use bytes::Bytes;
use secrecy::SecretString;
use tower_workspace_token::id::WorkspaceId;

use super::{mark::Mark, script};
use crate::{
    actions::{
        File, FileBytes, Reason, TaskAdd, TaskReply, TokenCreate, TokenRotate, WorkspaceArchive,
        WorkspaceCreate, WorkspaceDelete, WorkspaceList, WorkspaceUpdate, random_workspace_id,
    },
    app::App,
    caller::Caller,
    error::{AppError, ErrorCode},
};

/// Who fills the workspace: whoever started the server.
const OPERATOR: Caller = Caller::CommandLine;

/// The token that the agent works with, and the one that a second agent used before.
const BUILDER: &str = "build-agent";
const DOCUMENTALIST: &str = "docs-agent";

/// A workspace that was just filled.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) workspace: WorkspaceId,
    /// The secret of the second agent's token.
    pub(super) documentalist: SecretString,
}

/// Makes the workspace, its tokens and its tasks; `earlier` is how far another start has come with it.
pub(super) async fn fill(app: &App, earlier: Option<Mark>) -> Result<Filled, AppError> {
    if let Some(Mark::Begun(workspace)) = earlier {
        clear(app, &workspace).await?;
    }
    let workspace = random_workspace_id()?;
    // First: whatever there is under another id is not the demo's to take away.
    Mark::Begun(workspace).write(app).await?;
    let create = WorkspaceCreate {
        name: script::WORKSPACE.to_owned(),
        id: Some(workspace),
    };
    let id = app.perform(create, &OPERATOR).await?.workspace.id;
    let settings = WorkspaceUpdate {
        workspace: id.clone(),
        description: Some(script::MISSION.to_owned()),
        ..WorkspaceUpdate::default()
    };
    app.perform(settings, &OPERATOR).await?;
    let token = TokenCreate {
        workspace: id.clone(),
        name: DOCUMENTALIST.to_owned(),
    };
    let documentalist = app.perform(token, &OPERATOR).await?.secret.into_inner();
    for task in &script::TASKS {
        add(app, &id, task).await?;
    }
    // Last: what is not marked is made anew by the next start.
    Mark::Filled(workspace).write(app).await?;
    Ok(Filled {
        workspace,
        documentalist,
    })
}

/// Takes away what a start that was interrupted has left half filled, and nothing else.
async fn clear(app: &App, half_filled: &WorkspaceId) -> Result<(), AppError> {
    let list = app.perform(WorkspaceList {}, &OPERATOR).await?;
    let mut lines = list.workspaces.into_iter();
    let Some(line) = lines.find(|line| line.id == half_filled.as_str()) else {
        return Ok(());
    };
    let (workspace, confirm) = (line.id, line.name);
    if !line.archived {
        let archive = WorkspaceArchive {
            workspace: workspace.clone(),
            confirm: None,
        };
        app.perform(archive, &OPERATOR).await?;
    }
    app.perform(WorkspaceDelete { workspace, confirm }, &OPERATOR)
        .await?;
    Ok(())
}

async fn add(app: &App, workspace: &str, task: &script::Task) -> Result<(), AppError> {
    let attachments = task.file.iter().map(|(name, text)| File {
        name: (*name).to_owned(),
        media_type: None,
        data: FileBytes(Bytes::from_static(text.as_bytes())),
    });
    let added = TaskAdd {
        workspace: workspace.to_owned(),
        title: task.title.to_owned(),
        body: task.body.to_owned(),
        assignee: task.assignee,
        attachments: attachments.collect(),
    };
    let added = app.perform(added, &OPERATOR).await?;
    if let Some(text) = task.message {
        let message = TaskReply {
            workspace: workspace.to_owned(),
            task: added.task.id.to_string(),
            text: text.to_owned(),
            attachments: Vec::new(),
        };
        app.perform(message, &OPERATOR).await?;
    }
    Ok(())
}

/// Gives the agent a token that works: the next one of its name. Nobody could tell it the one before,
/// which was shown once.
pub(super) async fn renew_token(
    app: &App,
    workspace: &WorkspaceId,
) -> Result<SecretString, AppError> {
    let rotate = TokenRotate {
        workspace: workspace.to_string(),
        name: BUILDER.to_owned(),
        reason: Some(Reason::Routine),
        generation: None,
    };
    match app.perform(rotate, &OPERATOR).await {
        Ok(rotated) => Ok(rotated.secret.into_inner()),
        // It is new, or was revoked.
        Err(error) if error.code() == ErrorCode::NotFound => {
            let create = TokenCreate {
                workspace: workspace.to_string(),
                name: BUILDER.to_owned(),
            };
            let created = app.perform(create, &OPERATOR).await?;
            Ok(created.secret.into_inner())
        }
        Err(error) => Err(error),
    }
}
