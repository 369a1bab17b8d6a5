#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "session"),
    expect(dead_code, unused_imports, reason = "the session layer is off")
)]
//! Workspace tokens for tower.

pub mod authority;
#[cfg(feature = "axum")]
pub mod axum;
pub mod cipher;
pub mod clock;
pub mod error;
pub mod id;
pub mod jwt;
pub mod layer;
pub mod rejection;
#[cfg(feature = "session")]
pub mod session;
pub mod store;
mod sync;
pub mod token;

pub use authority::{Keys, Lease, TokenAuthority, VerifiedToken};
pub use id::{TokenName, WorkspaceId};
pub use layer::{CredentialScrubLayer, HostLabel, PathTemplate, WorkspaceTokenLayer};
#[cfg(feature = "session")]
pub use session::SessionLayer;
pub use store::{MemoryStore, TokenStore};
