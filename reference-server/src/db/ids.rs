//! Random ids: 11 characters of `[a-z0-9]`, for workspaces, tasks and messages.

use anyhow::Context as _;

/// The number of characters, which clients of existing workspace servers match on.
pub(crate) const ID_LENGTH: usize = 11;

const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// Makes an id out of 56 random bits, each character as likely as any other.
pub(crate) fn random_id() -> anyhow::Result<String> {
    let mut id = String::with_capacity(ID_LENGTH);
    while id.len() < ID_LENGTH {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).context("the operating system gave no randomness")?;
        // 252 is the largest multiple of 36 in a byte: what lies above would favour some characters.
        let even = bytes.into_iter().filter(|byte| *byte < 252);
        let characters = even.map(|byte| char::from(ALPHABET[usize::from(byte) % 36]));
        id.extend(characters.take(ID_LENGTH - id.len()));
    }
    Ok(id)
}

/// Returns whether `text` can be an id that [`random_id`] made.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_11_characters_and_differ() {
        let ids: Vec<String> = (0..100).map(|_| random_id().unwrap()).collect();
        assert!(ids.iter().all(|id| is_id(id)));
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }
}
