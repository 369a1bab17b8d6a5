//! Session tokens: [`SessionLayer`] gives MCP clients a short-lived JWT as their `Mcp-Session-Id`.
//!
//! The layer stands between [`WorkspaceTokenLayer`](crate::layer::WorkspaceTokenLayer) and an MCP
//! service of any make. When the service opens a session and names it in `Mcp-Session-Id`, the client
//! gets a token of ours in its place, bound to workspace, token id and generation; on later requests
//! the layer puts the service's own id back. A session is never a credential: each request carries
//! the workspace token too (MCP 2025-11-25, Security Best Practices, "Session Hijacking").
//!
//! Whatever is wrong with a session id, the answer is the same 404, upon which a client sends
//! `initialize` again. In the modern era (`MCP-Protocol-Version` from 2026-07-28 on) there are no
//! sessions, and the header is removed both ways.

mod body;
mod future;
mod handle;
mod layer;
mod service;

pub use body::SessionBody;
pub use future::SessionResponseFuture;
pub use handle::SessionHandle;
pub use layer::{SessionLayer, SessionLifetime};
pub use service::SessionService;

use http::{HeaderName, Request};

/// `Mcp-Session-Id` (MCP 2025-11-25, Transports, "Session Management").
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// `MCP-Protocol-Version` (MCP 2025-11-25, Transports, "Protocol Version Header").
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The first revision without sessions.
const FIRST_MODERN: &[u8] = b"2026-07-28";

/// Returns whether a request belongs to the era without sessions. Revisions are dates, which sort as text.
pub(crate) fn is_modern<B>(request: &Request<B>) -> bool {
    let version = request.headers().get(PROTOCOL_VERSION);
    version.is_some_and(|version| {
        let version = version.as_bytes();
        version.len() == FIRST_MODERN.len() && version >= FIRST_MODERN
    })
}
