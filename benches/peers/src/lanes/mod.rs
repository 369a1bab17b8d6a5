//! The candidates, one file each.

pub mod async_require;
pub mod axum_jwt_auth;
pub mod cached;
pub mod decode;
pub mod gate;
pub mod jwt_authorizer;
pub mod oauth2_resource_server;
pub mod ours;
pub mod oxitoken_pipeline;
pub mod passthrough;
pub mod static_bearer;
