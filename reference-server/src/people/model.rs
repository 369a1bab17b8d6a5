//! The words of people: users and roles.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::db::ids;

/// Identifies a user: 11 characters of `[a-z0-9]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct UserId(String);

/// A person who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) id: UserId,
    /// What they log in with and what others see.
    pub(crate) name: String,
    /// Whether they administer the server; then they count as an owner of every workspace.
    pub(crate) is_administrator: bool,
    pub(crate) is_disabled: bool,
    pub(crate) has_password: bool,
    /// Milliseconds since 1970.
    pub(crate) created_at: i64,
}

/// What a person may do in a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Works on tasks, and sees no tokens.
    Member,
    /// All of it.
    Owner,
}

impl UserId {
    pub(crate) fn random() -> anyhow::Result<Self> {
        ids::random_id().map(Self)
    }

    /// Takes an id from a request; one that no user has does no harm.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Owner => "owner",
        }
    }

    pub(super) fn of_column(text: &str) -> Self {
        // The table holds these two alone; the lesser one for whatever a later version may add.
        match text {
            "owner" => Self::Owner,
            _ => Self::Member,
        }
    }
}
