//! What must hold of everything that strangers send, as one function for each place where it is read.
//!
//! Each `check` takes any bytes and panics when a property does not hold; most compare the library with a
//! slow statement of what it should do, which shares no code with it. cargo-fuzz runs them by coverage
//! (`fuzz/run`), and `tests/cases.rs` by proptest, on stable. They see the library's public API only.

/// The oracle of `tests/attacks`: an independent mint.
#[path = "../../tests/attacks/common/oracle.rs"]
mod oracle;
mod reference;
mod world;

pub mod credential;
pub mod envelope;
pub mod host;
pub mod scrub;
pub mod session;
pub mod token;

pub(crate) const SIGNING: [u8; 32] = [0x51; 32];
pub(crate) const SEALING: [u8; 32] = [0x5e; 32];
pub(crate) const NOW: u64 = 1_800_000_000;
/// The secret of the planted token: 128 bits in base64url.
pub(crate) const JTI: &str = "AAECAwQFBgcICQoLDA0ODw";

/// Panics when what has to hold of any bytes does not hold of these.
pub type Check = fn(&[u8]);

/// Every check of the library, by the name of its target.
pub const CHECKS: [(&str, Check); 6] = [
    ("credential", credential::check),
    ("envelope", envelope::check),
    ("host", host::check),
    ("scrub", scrub::check),
    ("session", session::check),
    ("token", token::check),
];
