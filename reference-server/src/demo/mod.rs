//! `wst serve --demo`: a workspace full of life, and an agent that works in it.
//!
//! Nothing here has a door of its own. What people would have written comes in by actions, and the agent
//! is a client like any other: it speaks MCP over loopback with a workspace token, and ends with it. It
//! is a script and says so in every message.
//!
//! | module | holds |
//! |---|---|
//! | `mark` | how far a demo is, as its database says |
//! | `admission` | where a demo may run, and in which data directories |
//! | `filling` | the workspace and its tasks, as people would make them |
//! | `agent` | the agent's day: connect, take tasks, be cut off, give up |
//! | `scenes` | how it plays a task |
//! | `script` | all that it says |
//! | `client`, `events` | MCP over HTTP, as little of it as the agent needs |

mod admission;
mod agent;
mod client;
mod events;
mod filling;
mod mark;
mod scenes;
mod script;

use std::net::SocketAddr;

pub(crate) use admission::{check_data_dir, check_listening};
pub(crate) use agent::Cast;
use client::Endpoint;
use mark::Mark;

use crate::{
    app::App,
    error::{AppError, ErrorCode},
};

/// Fills the demo's workspace, if that was not done before, and gives its agent a token.
///
/// Called before anybody can reach the server. Without an agent if the workspace was archived or
/// deleted: that is the person's to decide, and no reason not to start.
pub(crate) async fn prepare(app: &App, address: SocketAddr) -> Result<Option<Cast>, AppError> {
    let mark = app.database().read(Mark::read).await?;
    let (workspace, documentalist) = match mark {
        Some(Mark::Filled(workspace)) => (workspace, None),
        unfilled => {
            let filled = filling::fill(app, unfilled).await?;
            (filled.workspace, Some(filled.documentalist))
        }
    };
    let secret = match filling::renew_token(app, &workspace).await {
        Ok(secret) => secret,
        Err(error) if [ErrorCode::Archived, ErrorCode::NotFound].contains(&error.code()) => {
            tracing::warn!(
                %workspace,
                "the demo's workspace was archived or deleted, so its agent stays away: take the workspace back, or start with another --data-dir"
            );
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let url = app.addresses().mcp_url(&workspace);
    let endpoint = |secret| Endpoint::new(address, &url, secret);
    Ok(Some(Cast {
        documentalist: documentalist.map(endpoint).transpose()?,
        builder: endpoint(secret)?,
    }))
}
