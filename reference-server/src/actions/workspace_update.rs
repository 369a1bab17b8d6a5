//! Changing the settings of a workspace.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, ShownWorkspace, workspace_create::check_name, workspace_ref};
use crate::{
    app::App,
    audit::Note,
    caller::Caller,
    error::AppError,
    live::Topic,
    tasks::Protocol,
    workspaces::{self, Settings},
};

/// Changes a workspace's name, what it is for, or its protocol; what is absent stays.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkspaceUpdate {
    pub(crate) workspace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<Protocol>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WorkspaceUpdated {
    pub(crate) workspace: ShownWorkspace,
}

impl Action for WorkspaceUpdate {
    type Outcome = WorkspaceUpdated;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/settings";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    fn note(&self) -> Option<Note> {
        let name = self.name.as_ref().map(|name| format!("name: {name}"));
        let description = self.description.as_ref().map(|_| "description".to_owned());
        let protocol = self
            .protocol
            .map(|protocol| format!("protocol: {}", protocol.as_str()));
        let changes = [name, description, protocol].into_iter().flatten();
        let changes: Vec<_> = changes.collect();
        Some(Note::new("workspace.update").with_detail(changes.join(", ")))
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<WorkspaceUpdated, AppError> {
        let description = self.description.as_deref();
        description.map(check_description).transpose()?;
        let workspace = workspace_ref::find_active(app, &self.workspace).await?;
        let id = workspace.id;
        // The form sends the name it was shown, and one that is there already stays good.
        let name = self.name.as_ref().filter(|name| **name != workspace.name);
        name.map(|name| check_name(name)).transpose()?;
        let settings = Settings {
            name: self.name,
            description: self.description,
            protocol: self.protocol,
        };
        let (protocols, live, protocol) =
            (app.protocols().clone(), app.live().clone(), self.protocol);
        let nodes = app.nodes().clone();
        app.database()
            .write_then(
                move |transaction| {
                    workspaces::update(transaction, &id, &settings)?;
                    nodes.tell_of_settings(transaction, &id)
                },
                move |()| {
                    if let Some(protocol) = protocol {
                        protocols.set(&id, protocol);
                    }
                    live.announce(Some(&id), Topic::Settings);
                },
            )
            .await?;
        let updated = workspace_ref::find(app, id.as_str()).await?;
        Ok(WorkspaceUpdated {
            workspace: ShownWorkspace::of(app, updated, caller).await?,
        })
    }
}

fn check_description(description: &str) -> Result<(), AppError> {
    let is_odd =
        |character: char| character.is_control() && !matches!(character, '\n' | '\r' | '\t');
    if description.len() > MAX_DESCRIPTION || description.contains(is_odd) {
        return Err(AppError::invalid(
            "what a workspace is for is a text of at most 8 KiB, without control characters",
        ));
    }
    Ok(())
}

const MAX_DESCRIPTION: usize = 8 * 1024;
