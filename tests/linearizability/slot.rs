//! The simplest slot there is: one number, and whether there is a token.

/// What somebody did, with the generations of the token and of the session that they used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Check { token: u64 },
    Frame { token: u64 },
    Issue,
    Mint { token: u64 },
    Revoke,
    Rotate,
    Use { token: u64, session: u64 },
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    /// The slot has come to this generation.
    Became(u64),
    /// Somebody else wrote the slot at the same time.
    Conflict,
    /// There is a token already.
    HasToken,
    NoToken,
    Refused,
    /// The token was right, and the session was not known.
    Unknown,
}

/// An act, and the ticks of one clock between which it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) act: Act,
    pub(crate) outcome: Outcome,
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    generation: u64,
    is_live: bool,
}

impl Slot {
    /// Returns the slot after an act that had this outcome, or `None` if it cannot have had it now.
    pub(crate) fn after(self, act: Act, outcome: Outcome) -> Option<Self> {
        let is_current = |token| self.is_live && token == self.generation;
        let next = |is_live| Self {
            generation: self.generation + 1,
            is_live,
        };
        let is_next = |generation| generation == self.generation + 1;
        match (act, outcome) {
            (Act::Issue, Outcome::Became(new)) => {
                (!self.is_live && is_next(new)).then(|| next(true))
            }
            (Act::Issue, Outcome::HasToken) => self.is_live.then_some(self),
            (Act::Rotate, Outcome::Became(new)) => {
                (self.is_live && is_next(new)).then(|| next(true))
            }
            (Act::Revoke, Outcome::Became(new)) => {
                (self.is_live && is_next(new)).then(|| next(false))
            }
            (Act::Rotate | Act::Revoke, Outcome::NoToken) => (!self.is_live).then_some(self),
            (Act::Issue | Act::Rotate | Act::Revoke, Outcome::Conflict) => Some(self),
            (
                Act::Check { token } | Act::Mint { token } | Act::Frame { token },
                Outcome::Accepted,
            ) => is_current(token).then_some(self),
            (
                Act::Check { token }
                | Act::Mint { token }
                | Act::Frame { token }
                | Act::Use { token, .. },
                Outcome::Refused,
            ) => (!is_current(token)).then_some(self),
            (Act::Use { token, session }, Outcome::Accepted) => {
                (is_current(token) && session == token).then_some(self)
            }
            (Act::Use { token, session }, Outcome::Unknown) => {
                (is_current(token) && session != token).then_some(self)
            }
            _ => None,
        }
    }
}
