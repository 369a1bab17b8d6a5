//! Randomness from the operating system, for keys, nonces and token secrets.

use super::CipherError;

/// Fills `bytes` from the operating system's generator.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), CipherError> {
    getrandom::fill(bytes).map_err(CipherError::with_source)
}
