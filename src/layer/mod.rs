//! The tower middleware: [`WorkspaceTokenLayer`] lets in whoever holds the current token of the
//! workspace a request is for, and cuts them off when that token is rotated.
//!
//! # Order of the checks
//! Host → `Origin` → places of the credential → token. The first that fails answers, and the inner
//! service is not called. What a rejected client reads is in [`rejection`](crate::rejection).
//!
//! # Order of the layers
//! [`CredentialScrubLayer`] (outermost) → trace, CORS → [`WorkspaceTokenLayer`] →
//! [`SessionLayer`](crate::session::SessionLayer) → your service. Without the outermost one, whatever
//! stands before the token layer sees the credential; what stands behind it never does.
//!
//! # Deployment caveat
//! Bytes that were handed to the HTTP library before a rotation still reach the client, and a
//! connection that was upgraded (a WebSocket) is not watched: close it when
//! [`Lease::ended`](crate::authority::Lease::ended) completes.

mod body;
mod credential;
mod future;
#[expect(
    clippy::module_inception,
    reason = "the folder is the middleware, the file its `Layer`"
)]
mod layer;
mod resolve;
mod response;
mod scrub;
mod service;

pub use body::GuardedBody;
pub use future::ResponseFuture;
pub use layer::WorkspaceTokenLayer;
pub use resolve::{FixedWorkspace, HostLabel, PathTemplate, RequestAddress, WorkspaceResolver};
pub use response::Farewell;
pub(crate) use response::reject;
pub use scrub::{CredentialScrub, CredentialScrubLayer};
pub use service::WorkspaceTokenService;

#[cfg(test)]
mod tests;
