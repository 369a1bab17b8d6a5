//! [`Limits`]: how much clients may take, as the operator said or by default.
//!
//! What is fixed is beside what it bounds: sizes in `http/caps`, times in `http/pace` and `listener`.

use std::num::NonZeroU32;

/// How much clients may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How many tokens may fail for one source at one workspace at once, and again in a minute.
    pub(crate) failed_tokens_per_minute: NonZeroU32,
    /// How many calls and streams of one token may be open at a time.
    pub(crate) calls_per_token: NonZeroU32,
    /// How many connections may be open at a time.
    pub(crate) connections: NonZeroU32,
    /// How many of them may be of one source; a quarter of what there is room for, if nothing is said.
    pub(crate) connections_per_source: Option<NonZeroU32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            failed_tokens_per_minute: FAILED_TOKENS_PER_MINUTE,
            calls_per_token: CALLS_PER_TOKEN,
            connections: CONNECTIONS,
            connections_per_source: None,
        }
    }
}

/// Some dozen clients behind one address that all missed a new token try a few times each.
const FAILED_TOKENS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("sixty is not zero");

/// As many sessions as a token may have, each with its stream and several calls that wait.
const CALLS_PER_TOKEN: NonZeroU32 = NonZeroU32::new(1024).expect("1,024 is not zero");

/// More than a flood of slow clients brings before the first of them is cut, at some kilobytes each.
const CONNECTIONS: NonZeroU32 = NonZeroU32::new(16_384).expect("16,384 is not zero");
