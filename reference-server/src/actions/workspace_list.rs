//! Listing the workspaces.

use std::collections::HashMap;

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action};
use crate::{
    app::App,
    caller::Caller,
    error::AppError,
    nodes::presence,
    people::transfers,
    tasks::{WorkspaceInfo, needs_counts},
    time, workspaces,
};

/// Lists the caller's workspaces, oldest first: all of them for the operator and administrators.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkspaceList {}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WorkspaceLines {
    pub(crate) workspaces: Vec<WorkspaceLine>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WorkspaceLine {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) archived: bool,
    /// None of its tokens is accepted until an administrator unlocks it.
    pub(crate) locked: bool,
    /// How much waits for a person there.
    pub(crate) needs_you: u64,
    /// How many live connections there are.
    pub(crate) connections: usize,
    /// Who wants to hand it over to the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offered_by: Option<String>,
}

impl Action for WorkspaceList {
    type Outcome = WorkspaceLines;
    const METHOD: Method = Method::GET;
    const ROUTE: &'static str = "/workspaces";
    const ACCESS: Access = Access::Person;

    async fn run(self, app: &App, caller: &Caller) -> Result<WorkspaceLines, AppError> {
        let member = match caller {
            Caller::CommandLine => None,
            Caller::Person(person) if person.user.is_administrator => None,
            Caller::Person(person) => Some(person.user.id.clone()),
        };
        let user = caller.user().cloned();
        let (found, counts, offers) = app
            .database()
            .read(move |snapshot| {
                let found = match &member {
                    None => workspaces::list(snapshot)?,
                    Some(member) => workspaces::list_of(snapshot, member)?,
                };
                let offers = match &user {
                    None => Vec::new(),
                    Some(user) => transfers::offered_to(snapshot, user, time::now())?,
                };
                let counts = needs_counts(snapshot, member.as_ref())?;
                Ok::<_, AppError>((found, counts, offers))
            })
            .await?;
        let counts: HashMap<String, u64> = counts.into_iter().collect();
        let mut offers: HashMap<String, String> = offers.into_iter().collect();
        let connections = presence::counts(app).await?;
        let line = |workspace: WorkspaceInfo| WorkspaceLine {
            offered_by: offers.remove(workspace.id.as_str()),
            connections: connections.get(&workspace.id).copied().unwrap_or(0),
            needs_you: counts.get(workspace.id.as_str()).copied().unwrap_or(0),
            id: workspace.id.to_string(),
            name: workspace.name,
            archived: workspace.archived,
            locked: app.is_locked(&workspace.id),
        };
        Ok(WorkspaceLines {
            workspaces: found.into_iter().map(line).collect(),
        })
    }
}
