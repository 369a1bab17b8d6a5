//! What `wst doctor` looks at, and in which words it says what is wrong.
//!
//! [`files`] looks at the data directory, [`inside`] at what the process says that holds it, and [`outside`]
//! asks the way clients do. Nothing is changed, and no token is sent anywhere.

pub(crate) mod files;
pub(crate) mod inside;
pub(crate) mod outside;

use serde::Serialize;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) state: CheckState,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CheckState {
    /// It has to be mended.
    Fail,
    Ok,
    /// It was not looked at, and why is said.
    Skipped,
    /// It works, and may not be meant.
    Warn,
}

impl Check {
    pub(crate) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, CheckState::Ok, found, None)
    }

    pub(crate) fn skipped(name: &'static str, why: impl Into<String>) -> Self {
        Self::new(name, CheckState::Skipped, why, None)
    }

    pub(crate) fn warn(
        name: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(name, CheckState::Warn, found, Some(advice.into()))
    }

    pub(crate) fn fail(
        name: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(name, CheckState::Fail, found, Some(advice.into()))
    }

    fn new(
        name: &'static str,
        state: CheckState,
        found: impl Into<String>,
        advice: Option<String>,
    ) -> Self {
        Self {
            name,
            state,
            found: found.into(),
            advice,
        }
    }
}
