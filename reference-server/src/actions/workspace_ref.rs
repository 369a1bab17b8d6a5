//! How people name a workspace: by its id, or by a name that only one has.

use tower_workspace_token::id::WorkspaceId;

use crate::{
    app::App,
    caller::Caller,
    error::{AppError, ErrorCode},
    people::Role,
    tasks::WorkspaceInfo,
    workspaces,
};

/// Finds the workspace that `id_or_name` means, archived ones included.
pub(super) async fn find(app: &App, id_or_name: &str) -> Result<WorkspaceInfo, AppError> {
    let id: Option<WorkspaceId> = id_or_name.parse().ok();
    let name = id_or_name.to_owned();
    let (by_id, by_name) = app
        .database()
        .read(move |snapshot| {
            let by_id = id.map(|id| workspaces::find(snapshot, &id)).transpose()?;
            Ok::<_, AppError>((by_id.flatten(), workspaces::find_by_name(snapshot, &name)?))
        })
        .await?;
    match by_id {
        Some(workspace) => Ok(workspace),
        None => the_only(by_name),
    }
}

/// Finds the workspace, and what the caller may do there.
///
/// A name is for the operator alone: to others it would tell of workspaces that are not theirs.
pub(crate) async fn visible(
    app: &App,
    workspace: &str,
    caller: &Caller,
) -> Result<(WorkspaceInfo, Role), AppError> {
    if matches!(caller, Caller::Person(_)) && workspace.parse::<WorkspaceId>().is_err() {
        return Err(not_found_by(caller));
    }
    let workspace = match find(app, workspace).await {
        Err(error) if error.code() == ErrorCode::NotFound => return Err(not_found_by(caller)),
        found => found?,
    };
    match app.role(&workspace.id, caller).await? {
        Some(role) => Ok((workspace, role)),
        None => Err(not_found_by(caller)),
    }
}

/// Finds the workspace, and stops if it was archived.
pub(super) async fn find_active(app: &App, id_or_name: &str) -> Result<WorkspaceInfo, AppError> {
    check_active(Some(find(app, id_or_name).await?))
}

/// Stops where there is no workspace, or it was archived.
pub(crate) fn check_active(found: Option<WorkspaceInfo>) -> Result<WorkspaceInfo, AppError> {
    let workspace = found.ok_or_else(not_found)?;
    if workspace.archived {
        return Err(AppError::new(
            ErrorCode::Archived,
            "the workspace is archived: take it back in its settings first",
        )
        .with_hint("`wst workspace unarchive`"));
    }
    Ok(workspace)
}

fn the_only(mut found: Vec<WorkspaceInfo>) -> Result<WorkspaceInfo, AppError> {
    // One that was archived does not stand in the way of its successor.
    if found.iter().any(|workspace| !workspace.archived) {
        found.retain(|workspace| !workspace.archived);
    }
    let ids: Vec<&str> = found.iter().map(|found| found.id.as_str()).collect();
    match ids.len() {
        0 => Err(not_found()),
        1 => Ok(found.remove(0)),
        _ => Err(AppError::new(
            ErrorCode::Conflict,
            format!(
                "several workspaces have this name: give the id of the one you mean, of {}",
                ids.join(", ")
            ),
        )
        .with_hint("`wst workspace list` shows all")),
    }
}

/// The same words for people whether it is not there or not theirs.
fn not_found_by(caller: &Caller) -> AppError {
    match caller {
        Caller::CommandLine => not_found(),
        Caller::Person(_) => AppError::new(
            ErrorCode::NotFound,
            "there is no such workspace, or you are no member of it: ask one of its owners to add you",
        ),
    }
}

pub(super) fn not_found() -> AppError {
    AppError::new(ErrorCode::NotFound, "there is no such workspace")
        .with_hint("`wst workspace list` shows all")
}
