//! [`Client`]: what a program calls itself, made fit to be kept and shown.
//!
//! These are words of strangers, and some put their token wherever a text fits: what could be a piece of
//! one is not kept, and nothing turns the direction of writing.

use serde::{Deserialize, Serialize};

use crate::text;
use http::{HeaderMap, HeaderValue, header::USER_AGENT};

/// Name and version of a client. Both may be empty: it did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Client {
    /// As the client itself writes it, as in `claude-code`.
    pub(crate) name: String,
    pub(crate) version: String,
}

impl Client {
    pub(super) fn new(name: &str, version: &str) -> Self {
        Self {
            name: clean(name, MAX_NAME),
            version: clean(version, MAX_VERSION),
        }
    }

    /// Reads the first product of a `User-Agent` (RFC 9110 §10.1.5), as `claude-code/2.1.330 (cli)`.
    pub(super) fn of_agent(agent: &HeaderValue) -> Self {
        let agent = agent.to_str().unwrap_or_default();
        let product = agent.split(' ').next().unwrap_or_default();
        let (name, version) = product.split_once('/').unwrap_or((product, ""));
        Self::new(name, version)
    }

    /// Reads it from the headers of a request.
    pub(super) fn of_headers(headers: &HeaderMap) -> Self {
        headers
            .get(USER_AGENT)
            .map(Self::of_agent)
            .unwrap_or_default()
    }

    /// Whether this was made of these words.
    pub(super) fn was_named(&self, name: &str, version: &str) -> bool {
        // Mostly the words are clean already, which is compared without a new text.
        (self.name == name && self.version == version) || *self == Self::new(name, version)
    }

    /// Returns the name as people know it.
    pub(crate) fn title(&self) -> &str {
        title(&self.name)
    }

    /// Returns name and version, as in `Claude Code 2.1.330`.
    pub(crate) fn words(&self) -> String {
        match &*self.version {
            "" => self.title().to_owned(),
            version => format!("{} {version}", self.title()),
        }
    }
}

/// Returns the name that people know a client by.
pub(crate) fn title(name: &str) -> &str {
    let known = KNOWN.iter().find(|(prefix, _)| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    });
    match known {
        Some((_, title)) => title,
        None if name.is_empty() => "a client without a name",
        None => name,
    }
}

/// Keeps of `text` what can be shown, and nothing of it if a part could be of a token.
fn clean(text: &str, limit: usize) -> String {
    let is_piece = |word: &str| word.len() > LONGEST_WORD || word.contains(TOKEN_BEGINS);
    let mut words = text.split(|character: char| {
        !(character.is_ascii_alphanumeric() || matches!(character, '-' | '_'))
    });
    if words.any(is_piece) {
        return String::new();
    }
    let shown = text
        .chars()
        .filter(|character| text::is_shown(*character))
        .take(limit);
    shown.collect::<String>().trim().to_owned()
}

/// How names begin, and what people call them.
const KNOWN: [(&str, &str); 9] = [
    ("claude-code", "Claude Code"),
    ("gemini-cli", "Gemini CLI"),
    ("codex", "Codex"),
    ("demo-agent", "Demo agent"),
    ("opencode", "opencode"),
    ("visual studio code", "VS Code"),
    ("vscode", "VS Code"),
    ("cursor", "Cursor"),
    ("windsurf", "Windsurf"),
];

const MAX_NAME: usize = 64;
const MAX_VERSION: usize = 32;

/// No part of a token is as short, but for its header, and that begins like every JWT's.
const LONGEST_WORD: usize = 35;
const TOKEN_BEGINS: &str = "eyJ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_people_call_a_client() {
        assert_eq!(
            Client::new("claude-code", "2.1.330").words(),
            "Claude Code 2.1.330"
        );
        assert_eq!(Client::new("mine", "").words(), "mine");
        assert_eq!(Client::default().words(), "a client without a name");
        assert_eq!(Client::new("Ünknown", "1").title(), "Ünknown");
    }

    #[test]
    fn reads_the_first_product_of_a_user_agent() {
        let agent = |text| Client::of_agent(&HeaderValue::from_static(text));
        assert_eq!(
            agent("claude-code/2.1.330 (cli)"),
            Client::new("claude-code", "2.1.330")
        );
        assert_eq!(agent("node"), Client::new("node", ""));
        assert_eq!(agent(""), Client::default());
    }

    #[test]
    fn keeps_nothing_that_could_be_of_a_token() {
        for text in [
            "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl",
            "x eyJhbGciOi",
            "Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(Client::new(text, text), Client::default(), "{text}");
        }
    }

    #[test]
    fn keeps_texts_short_and_in_their_line() {
        let client = Client::new("a\u{202e}b\n\u{1b}[31mc", &"1.".repeat(100));
        assert_eq!(client.name, "ab[31mc");
        assert_eq!(client.version.len(), MAX_VERSION);
    }

    #[test]
    fn knows_a_client_by_its_own_words() {
        let client = Client::new("a\nb", "1");
        assert!(client.was_named("a\nb", "1") && client.was_named("ab", "1"));
        assert!(!client.was_named("ab", "2"));
    }
}
