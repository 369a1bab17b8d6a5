//! How tools learn whose workspace they work in, and whether anybody waits for their answer.

use http::request::Parts;
use rmcp::{RoleServer, model::Extensions, service::RequestContext};
use tower_workspace_token::{authority::VerifiedToken, session::SessionHandle};

use crate::ClientPresence;

/// Returns the token that a call was made with: its workspace, slot and generation, and its lease.
///
/// It is there in every call, prompt, resource and listening of a handler under
/// [`McpService`](crate::McpService). What a tool writes belongs to
/// [`workspace()`](VerifiedToken::workspace) and nowhere else, whatever its arguments say.
pub fn verified_token(context: &RequestContext<RoleServer>) -> Option<&VerifiedToken> {
    verified_token_in(&context.extensions)
}

/// The same for the contexts of notifications, by their `extensions`.
pub fn verified_token_in(extensions: &Extensions) -> Option<&VerifiedToken> {
    extensions.get::<Parts>()?.extensions.get()
}

/// Returns the session that a call belongs to.
pub(crate) fn session_in(extensions: &Extensions) -> Option<&SessionHandle> {
    extensions.get::<Parts>()?.extensions.get()
}

/// Returns what tells whether the client of a call is still there; `None` outside of
/// [`McpService`](crate::McpService).
pub fn client_presence(context: &RequestContext<RoleServer>) -> Option<&ClientPresence> {
    context.extensions.get::<Parts>()?.extensions.get()
}
