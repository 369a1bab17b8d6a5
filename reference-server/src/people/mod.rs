//! People: who may log in, how they do it, and what they may do in which workspace.
//!
//! Nothing in here has to do with workspace tokens: a token is no login, and a login no token.

pub(crate) mod accounts;
mod attempts;
pub(crate) mod links;
pub(crate) mod logins;
pub(crate) mod members;
mod model;
mod password;
mod refusals;
mod secret;
pub(crate) mod setup;
pub(crate) mod sightings;
pub(crate) mod transfers;
pub(crate) mod users;

pub(crate) use attempts::Attempts;
pub(crate) use model::{Role, User, UserId};
pub(crate) use password::Passwords;
pub(crate) use refusals::Refusals;
