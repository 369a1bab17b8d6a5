//! Ending a connection: its session is over, its streams and running calls too.

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Action, ConnectionLine, workspace_ref};
use crate::{
    activity::End,
    app::App,
    audit::{self, Note},
    caller::Caller,
    error::{AppError, ErrorCode},
    nodes::presence,
};

/// Ends the connection of that id. Its token stays as it is, so that its client may come back.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionEnd {
    pub(crate) workspace: String,
    pub(crate) connection: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ConnectionEnded {
    /// As it was.
    pub(crate) connection: ConnectionLine,
}

impl Action for ConnectionEnd {
    type Outcome = ConnectionEnded;
    const METHOD: Method = Method::POST;
    const ROUTE: &'static str = "/workspaces/{workspace}/connections/{connection}/end";
    const ACCESS: Access = Access::Owner;

    fn workspace(&mut self) -> Option<&mut String> {
        Some(&mut self.workspace)
    }

    async fn run(self, app: &App, caller: &Caller) -> Result<ConnectionEnded, AppError> {
        let id = workspace_ref::find(app, &self.workspace).await?.id;
        match presence::end(app, &id, &self.connection).await? {
            End::Ended(seen) => {
                tracing::info!(workspace = %id, connection = seen.id, "connection ended");
                // Kept here, since only now it is known whose it was.
                let note = Note::new("connection.end")
                    .about(seen.key.name.as_str())
                    .with_detail(seen.words());
                audit::record(app, caller, Some(id), note).await;
                Ok(ConnectionEnded {
                    connection: ConnectionLine::of(&seen),
                })
            }
            End::NoSession => Err(AppError::new(
                ErrorCode::Conflict,
                "this client has no session that could be ended: to lock it out, regenerate its token",
            )),
            End::NoAnswer => Err(AppError::new(
                ErrorCode::Unavailable,
                "the server that this client is connected to has not ended it in time: look whether it is still there, and try again",
            )),
            End::NotThere => Err(AppError::new(
                ErrorCode::NotFound,
                "there is no such connection any longer",
            )),
        }
    }
}
