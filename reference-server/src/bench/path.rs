//! What is measured.

/// A way through the validation of a token, and what stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// Nothing at all: what it costs to time something.
    Clock,
    Cold,
    Decode,
    Garbage,
    Warm,
    WrongSignature,
}

impl Path {
    /// In the order in which they take their turns.
    pub(super) const ALL: [Self; 6] = [
        Self::Clock,
        Self::Warm,
        Self::Decode,
        Self::Garbage,
        Self::Cold,
        Self::WrongSignature,
    ];

    /// Returns it as the JSON names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::Cold => "cold",
            Self::Decode => "jsonwebtoken_decode",
            Self::Garbage => "garbage",
            Self::Warm => "warm",
            Self::WrongSignature => "wrong_signature",
        }
    }
}
