//! The MCP endpoint of a workspace: the tools through which agents work, and what is pushed to them.
//!
//! Requests get here behind the token layer: their extensions hold a
//! [`VerifiedToken`](tower_workspace_token::VerifiedToken), and the credential is gone. Each tool is
//! bound to the workspace of that token, whatever its arguments say.

mod handler;
mod protocol;
mod push;
mod tools;

pub(crate) use protocol::ByProtocol;
pub(crate) use tools::NOT_NOW;

use std::io;

use tower_workspace_token_mcp::McpService;

use crate::app::App;
use handler::AgentHandler;

/// Returns what makes the handler of each session, or of each request in the era without them.
pub(crate) fn handler(
    app: &App,
) -> impl Fn() -> io::Result<AgentHandler> + Send + Sync + 'static + use<> {
    let tasks = app.tasks().clone();
    move || Ok(AgentHandler::new(tasks.clone()))
}

/// Returns what is served at each of the three URLs of a workspace. Clones share their sessions.
pub(crate) fn endpoint(app: &App) -> ByProtocol {
    let service = |protocol| {
        McpService::new(app.authority().clone(), handler(app))
            .with_protocol(protocol)
            .with_observer(app.activity().clone())
    };
    ByProtocol::new(app.protocols().clone(), service)
}
