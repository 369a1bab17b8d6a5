//! Why a token is regenerated or revoked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    Committed,
    /// Given by `wst scan` alone, and offered to nobody.
    FoundByScan,
    HandOff,
    LostDevice,
    MemberLeft,
    Routine,
    Shared,
    Suspicion,
}

impl Reason {
    /// Those that people choose from, in the order in which they are offered.
    pub(crate) const ALL: [Self; 7] = [
        Self::Committed,
        Self::Shared,
        Self::Suspicion,
        Self::LostDevice,
        Self::MemberLeft,
        Self::Routine,
        Self::HandOff,
    ];

    /// Returns the word for it in a request.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::FoundByScan => "found-by-scan",
            Self::HandOff => "hand-off",
            Self::LostDevice => "lost-device",
            Self::MemberLeft => "member-left",
            Self::Routine => "routine",
            Self::Shared => "shared",
            Self::Suspicion => "suspicion",
        }
    }

    /// Returns it in words, for people and for the trail.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Committed => "it was committed to a repository",
            Self::FoundByScan => "found by scan",
            Self::HandOff => "it is handed over to somebody else",
            Self::LostDevice => "a device was lost",
            Self::MemberLeft => "a member left",
            Self::Routine => "routine",
            Self::Shared => "it was shared by mistake",
            Self::Suspicion => "somebody else may have it",
        }
    }
}
